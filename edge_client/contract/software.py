"""Which client software devices should run: the signed document ``settings/client.software``.

1. A release of the software is a version and its wheels: the client's own and what it newly needs. Each wheel is a
   target ``client/NAME.whl`` that a person approved with the `engines` key; the document (online, `rollouts`) can only
   choose among approved ones.
2. `base` is for every device, `staged` for those that its cohorts take, by the same stable share as a rollout of an
   engine. A device that neither names keeps what it has.
3. `needs` says the least client version that targets need: a device below it takes none of them and keeps what it has.
4. Everything but `issued_at` is optional, and unknown fields are passed over: this one document must stay readable for
   every client that is to be upgraded by it.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from edge_client.contract.errors import BadRelease
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.releases import Cohort
from edge_client.contract.signing import canonical_json
from edge_client.contract.staging import DeviceFacts, takes

SOFTWARE_TARGET = "settings/client.software"
PACKAGE = "andon_edge"  # as it stands in the name of the client's own wheel
MAX_WHEEL_BYTES = 512 * 1024 * 1024
MOST_WHEELS = 64
_MOST_NEEDS = 1_000
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,200}\.whl\Z")
_VERSION = re.compile(r"(\d{1,6}(?:\.\d{1,6}){0,5})((?:\.?(?:a|b|rc|dev|post)\d{1,6})*)(?:\+[a-z0-9.]{1,40})?\Z")
_DOCUMENT = "client software"


def wheel_target(name: str) -> str:
    """TUF target path of a wheel.

    Raises:
        BadRelease: Not the name of a wheel.
    """
    if not _WHEEL.match(name) or ".." in name or name.count("-") not in (4, 5):
        raise BadRelease(f"{name[:80]!r} is no wheel: expected NAME-VERSION-PYTHON-ABI-PLATFORM.whl")
    return f"client/{name}"


def version_key(version: str) -> tuple[tuple[int, ...], int, str]:
    """Return what versions are compared by: their numbers, then whether they are final, then the rest as text.

    Raises:
        BadRelease: Not a version.

    >>> version_key("0.10.0") > version_key("0.9.1")
    True
    >>> version_key("1.0.0rc1") < version_key("1.0.0")
    True
    """
    match = _VERSION.match(version)
    if match is None:
        raise BadRelease(f"{version[:80]!r} is no version: expected numbers with points, such as 0.2.0")
    numbers = [int(n) for n in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    suffix = match[2].lstrip(".")
    rank = 0 if not suffix else 1 if suffix.startswith("post") else -1
    return tuple(numbers), rank, suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One wheel as it was approved."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftwareRelease:
    """A version of the client and the wheels that it is installed from."""

    version: str
    wheels: tuple[Wheel, ...]

    @property
    def digest(self) -> str:
        """The digest of the client's own wheel: what a device quarantines."""
        return next(w.sha256 for w in self.wheels if w.name.startswith(f"{PACKAGE}-{self.version}-"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedSoftware:
    """The next version, and who should run it already."""

    release: SoftwareRelease
    salt: str
    cohorts: tuple[Cohort, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """Which client software devices should run.

    Attributes:
        base: For every device; None leaves each with what it has.
        staged: The version on its way.
        needs: Pattern of target paths (``engines/solder-joints/*``, ``settings/*``) → least client version.
    """

    issued_at: datetime
    base: SoftwareRelease | None = None
    staged: StagedSoftware | None = None
    needs: Mapping[str, str] = field(default_factory=dict)

    def release_for(self, facts: DeviceFacts) -> SoftwareRelease | None:
        """Return what a device should run; None for what it has (rule 2)."""
        staged = self.staged
        if staged is not None and any(takes(cohort, staged.salt, facts) for cohort in staged.cohorts):
            return staged.release
        return self.base

    def needed_by(self, target: str) -> str:
        """Return the least client version that a target needs; "" for any (rule 3)."""
        needed = [version for pattern, version in self.needs.items() if fnmatchcase(target, pattern)]
        return max(needed, key=version_key, default="")

    def to_json(self) -> bytes:
        """Serialise for signing."""
        return canonical_json({**asdict(self), "issued_at": self.issued_at.isoformat()})

    @staticmethod
    def from_json(data: bytes) -> "Software":
        """Read and check.

        Raises:
            BadRelease: Not such a document.
        """
        value: Any = read_json(data, _DOCUMENT, BadRelease)
        Fields(value, _DOCUMENT, BadRelease)  # an object, or refused
        fields = Fields({"base": None, "staged": None, "needs": {}, **value}, _DOCUMENT, BadRelease)
        needs = fields.mapping("needs", most=_MOST_NEEDS)
        for pattern, version in needs.items():
            if not isinstance(version, str) or len(pattern) > 256:
                raise fields.wrong("needs", pattern, "patterns of target paths, each with a version")
            version_key(version)
        return Software(
            issued_at=fields.time("issued_at"),
            base=None if fields.raw("base") is None else _release(fields.raw("base")),
            staged=None if fields.raw("staged") is None else _staged(fields.raw("staged")),
            needs=needs,
        )


def _release(value: object) -> SoftwareRelease:
    fields = Fields(value, f"{_DOCUMENT}: release", BadRelease)
    release = SoftwareRelease(
        version=fields.text("version", most=64),
        wheels=tuple(_wheel(f) for f in fields.objects("wheels", most=MOST_WHEELS)),
    )
    version_key(release.version)
    own = [w for w in release.wheels if w.name.startswith(f"{PACKAGE}-{release.version}-")]
    if len(own) != 1:
        raise fields.wrong("wheels", [w.name for w in release.wheels], f"one {PACKAGE}-{release.version}-….whl")
    return release


def _wheel(fields: Fields) -> Wheel:
    wheel = Wheel(
        name=fields.text("name", most=210),
        sha256=fields.text("sha256", most=64),
        bytes=fields.whole("bytes", least=1, most=MAX_WHEEL_BYTES),
    )
    wheel_target(wheel.name)
    return wheel


def _staged(value: object) -> StagedSoftware:
    fields = Fields(value, f"{_DOCUMENT}: staged", BadRelease)
    return StagedSoftware(
        release=_release(fields.raw("release")),
        salt=fields.text("salt", most=256),
        cohorts=tuple(
            Cohort(
                percent=f.number("percent", least=0.0, most=100.0),
                sites=f.names("sites", "site", most=2_000),
                stations=f.names("stations", "station", most=2_000),
                hardware=f.names("hardware", "hardware", most=2_000),
                devices=f.names("devices", "device", most=2_000),
            )
            for f in fields.objects("cohorts", most=64)
        ),
    )
