"""Layout of the signed release repository, and the channel document that a device follows.

1. A channel names one model version for all of its devices: its flat fields are the base engine, `variants` are other
   files of the same model.
2. While a rollout is under way `staged` names the next version and who has it already; everyone else stays on the base.
3. Both are optional and written only when they are there: documents of before read as they did, and a client that does
   not know them stays on the base engine until the rollout is done.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from edge_client.contract.errors import BadRelease
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.names import check_name
from edge_client.contract.signing import canonical_json

METADATA_PREFIX = "releases/metadata/"
TARGETS_PREFIX = "releases/targets/"
MAX_ENGINE_BYTES = 512 * 1024 * 1024
MAX_METADATA_BYTES = 5_000_000  # python-tuf's own bound for targets metadata
_MOST_VARIANTS = 16
_MOST_COHORTS = 64
_MOST_NAMES = 2_000  # of one list of a cohort


def engine_target(inspection: str, engine_id: str) -> str:
    """TUF target path of an engine."""
    return f"engines/{check_name(inspection, 'inspection')}/{check_name(engine_id, 'engine')}.onnx"


def selftest_target(inspection: str, engine_id: str) -> str:
    """TUF target path of an engine's self-test."""
    return f"engines/{check_name(inspection, 'inspection')}/{check_name(engine_id, 'engine')}.selftest"


def channel_target(inspection: str, channel: str) -> str:
    """TUF target path of a channel."""
    return f"channels/{check_name(inspection, 'inspection')}/{check_name(channel, 'channel')}.json"


def settings_target(device: str = "default") -> str:
    """TUF target path of a device's settings, or of those for all devices."""
    return f"settings/{check_name(device, 'device')}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedEngine:
    """One engine file that a channel names.

    Attributes:
        engine_path: TUF target path of the engine.
        engine_sha256: Digest that the `engines` role must have signed too.
        engine_bytes: Length in bytes.
        variant: What it is among the files of its model: ``int8``, ``fp32``, …; "" where that was not said.
        provider: The only provider that may run it; "" for any.
    """

    engine_path: str
    engine_sha256: str
    engine_bytes: int
    engine_id: str
    selftest_path: str
    variant: str = ""
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Devices that a rollout has reached: of those in every list that is not empty a percentage, by stable hash."""

    percent: float = 100.0
    sites: tuple[str, ...] = ()
    stations: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """The next version of a channel, and who should run it already.

    Attributes:
        version: The model version in the registry.
        engines: Its files, in order of preference; at least one.
        salt: Hashed with a device's name; another one for each rollout.
        cohorts: Any of them makes a device staged.
    """

    version: str
    engines: tuple[NamedEngine, ...]
    salt: str
    cohorts: tuple[Cohort, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Which engine the devices on a channel should run; signed by `rollouts`, its engines by `engines`.

    Attributes:
        engine_path: TUF target path of the base engine.
        engine_sha256: Digest that the `engines` role must have signed too.
        engine_bytes: Length in bytes.
        version: The model version in the registry.
        issued_at: Signed time, also a lower bound for a device's clock.
        variant: What the base engine is among the files of its model; see `NamedEngine`.
        provider: The only provider that may run the base engine; "" for any.
        variants: Other files of the same model, tried after the base engine in this order.
        staged: The rollout under way.
    """

    inspection: str
    channel: str
    engine_path: str
    engine_sha256: str
    engine_bytes: int
    engine_id: str
    version: str
    selftest_path: str
    issued_at: datetime
    variant: str = ""
    provider: str = ""
    variants: tuple[NamedEngine, ...] = ()
    staged: Staged | None = None

    def engines(self) -> tuple[NamedEngine, ...]:
        """The files of the base version, in order of preference."""
        base = NamedEngine(
            engine_path=self.engine_path,
            engine_sha256=self.engine_sha256,
            engine_bytes=self.engine_bytes,
            engine_id=self.engine_id,
            selftest_path=self.selftest_path,
            variant=self.variant,
            provider=self.provider,
        )
        return (base, *self.variants)

    def every_engine(self) -> tuple[NamedEngine, ...]:
        """All files that the document names."""
        return (*self.engines(), *(self.staged.engines if self.staged is not None else ()))

    def to_json(self) -> bytes:
        """Serialise for signing."""
        value = {**asdict(self), "issued_at": self.issued_at.isoformat()}
        for name in _OPTIONAL:
            if not value[name]:  # as it was written before there was such a field
                del value[name]
        return canonical_json(value)

    @staticmethod
    def from_json(data: bytes) -> "Channel":
        """Read and check.

        Raises:
            BadRelease: Not a channel document.
        """
        value: Any = read_json(data, _DOCUMENT, BadRelease)
        Fields(value, _DOCUMENT, BadRelease)  # an object, or refused
        fields = Fields({**_OPTIONAL, **value}, _DOCUMENT, BadRelease)
        inspection = fields.name("inspection", "inspection")
        base = read_engine(fields, inspection)
        return Channel(
            inspection=inspection,
            channel=fields.name("channel", "channel"),
            version=fields.text("version", most=64),
            issued_at=fields.time("issued_at"),
            variants=tuple(read_engine(f, inspection) for f in fields.objects("variants", most=_MOST_VARIANTS)),
            staged=None if fields.raw("staged") is None else _staged(fields, inspection),
            engine_path=base.engine_path,
            engine_sha256=base.engine_sha256,
            engine_bytes=base.engine_bytes,
            engine_id=base.engine_id,
            selftest_path=base.selftest_path,
            variant=base.variant,
            provider=base.provider,
        )


_DOCUMENT = "channel document"
_OPTIONAL: Mapping[str, Any] = {"variant": "", "provider": "", "variants": [], "staged": None}


def read_engine(fields: Fields, inspection: str) -> NamedEngine:
    """Read a named engine; its paths are those of its inspection and id.

    Raises:
        BadRelease: They are not, or a field is not acceptable.
    """
    engine_id = fields.name("engine_id", "engine")
    engine = NamedEngine(
        engine_path=fields.text("engine_path"),
        engine_sha256=fields.text("engine_sha256", most=64),
        engine_bytes=fields.whole("engine_bytes", least=1, most=MAX_ENGINE_BYTES),
        engine_id=engine_id,
        selftest_path=fields.text("selftest_path"),
        variant=fields.text("variant", most=32),
        provider=fields.text("provider", most=32),
    )
    if engine.engine_path != engine_target(inspection, engine_id):
        raise fields.wrong("engine_path", engine.engine_path, engine_target(inspection, engine_id))
    if engine.selftest_path != selftest_target(inspection, engine_id):
        raise fields.wrong("selftest_path", engine.selftest_path, selftest_target(inspection, engine_id))
    return engine


def _staged(document: Fields, inspection: str) -> Staged:
    fields = Fields(document.raw("staged"), f"{_DOCUMENT}: staged", BadRelease)
    staged = Staged(
        version=fields.text("version", most=64),
        engines=tuple(read_engine(f, inspection) for f in fields.objects("engines", most=_MOST_VARIANTS)),
        salt=fields.text("salt", most=256),
        cohorts=tuple(read_cohort(f) for f in fields.objects("cohorts", most=_MOST_COHORTS)),
    )
    if not staged.engines:
        raise fields.wrong("engines", [], "at least one engine")
    return staged


def read_cohort(fields: Fields) -> Cohort:
    """Read a cohort.

    Raises:
        BadRelease: A field is not acceptable.
    """
    return Cohort(
        percent=fields.number("percent", least=0.0, most=100.0),
        sites=fields.names("sites", "site", most=_MOST_NAMES),
        stations=fields.names("stations", "station", most=_MOST_NAMES),
        hardware=fields.names("hardware", "hardware", most=_MOST_NAMES),
        devices=fields.names("devices", "device", most=_MOST_NAMES),
    )
