"""Layout of the signed release repository, and the channel document that a device follows."""

from dataclasses import asdict, dataclass
from datetime import datetime

from edge_client.contract.errors import BadRelease
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.names import check_name
from edge_client.contract.signing import canonical_json

METADATA_PREFIX = "releases/metadata/"
TARGETS_PREFIX = "releases/targets/"
MAX_ENGINE_BYTES = 512 * 1024 * 1024


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
class Channel:
    """Which engine the devices on a channel should run; signed by `rollouts`, its engine by `engines`.

    Attributes:
        engine_path: TUF target path of the engine.
        engine_sha256: Digest that the `engines` role must have signed too.
        engine_bytes: Length in bytes.
        version: The model version in the registry.
        issued_at: Signed time, also a lower bound for a device's clock.
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

    def to_json(self) -> bytes:
        """Serialise for signing."""
        return canonical_json({**asdict(self), "issued_at": self.issued_at.isoformat()})

    @staticmethod
    def from_json(data: bytes) -> "Channel":
        """Read and check.

        Raises:
            BadRelease: Not a channel document.
        """
        fields = Fields(read_json(data, "channel document", BadRelease), "channel document", BadRelease)
        inspection = fields.name("inspection", "inspection")
        engine_id = fields.name("engine_id", "engine")
        channel = Channel(
            inspection=inspection,
            channel=fields.name("channel", "channel"),
            engine_path=fields.text("engine_path"),
            engine_sha256=fields.text("engine_sha256", most=64),
            engine_bytes=fields.whole("engine_bytes", least=1, most=MAX_ENGINE_BYTES),
            engine_id=engine_id,
            version=fields.text("version", most=64),
            selftest_path=fields.text("selftest_path"),
            issued_at=fields.time("issued_at"),
        )
        if channel.engine_path != engine_target(inspection, engine_id):
            raise fields.wrong("engine_path", channel.engine_path, engine_target(inspection, engine_id))
        if channel.selftest_path != selftest_target(inspection, engine_id):
            raise fields.wrong("selftest_path", channel.selftest_path, selftest_target(inspection, engine_id))
        return channel
