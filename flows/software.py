"""Client software for the fleet: wheels that a person approves, and the document that says who should run which.

1. A wheel is inspected before it is signed: its name, its record of digests, its size, and that nothing in it leaves
   its folder. What is signed beside the client's own wheel names the wheels that were approved with it.
2. The document only ever names approved wheels; a device checks the same again.
3. `stage` gives a version to a share or cohort and never takes one away from a device that has it; `choose` gives it to
   every device; `halt` takes the staged version back.
4. Devices report their version in each heartbeat, and what became of the newest one.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.parser import BytesParser
from email.policy import compat32

from data.devices import DeviceStatus
from edge_client.contract.errors import BadRelease
from edge_client.contract.releases import Cohort
from edge_client.contract.software import (
    MAX_WHEEL_BYTES,
    MOST_WHEELS,
    PACKAGE,
    SOFTWARE_TARGET,
    Software,
    SoftwareRelease,
    StagedSoftware,
    Wheel,
    version_key,
    wheel_target,
)
from edge_client.contract.staging import DeviceFacts
from flows.releases.repository import ReleaseRepository

_MAX_UNPACKED_BYTES = 4 * MAX_WHEEL_BYTES
_MAX_FILES = 20_000
_WITH = "wheels"  # what is signed beside the client's own wheel


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFacts:
    """What a person should see of a wheel before they sign its digest."""

    name: str
    distribution: str
    version: str
    sha256: str
    bytes: int
    files: int
    requires_python: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSoftware:
    """What a device runs, and what it should run; `wanted` is "" for what it has."""

    device: str
    runs: str
    wanted: str
    told: str
    received_at: datetime


def inspect_wheel(name: str, data: bytes) -> WheelFacts:
    """Inspect a wheel (rule 1).

    Raises:
        BadRelease: It is none, or not what its own record says.
    """
    wheel_target(name)
    if not 0 < len(data) <= MAX_WHEEL_BYTES:
        raise BadRelease(f"wheel {name!r} has {len(data)} bytes: expected 1 to {MAX_WHEEL_BYTES}")
    distribution, version = name.split("-")[:2]
    info = f"{distribution}-{version}.dist-info"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_shape(name, archive)
            _check_record(name, info, archive)
            told = BytesParser(policy=compat32).parsebytes(archive.read(f"{info}/METADATA"))
            files = len(archive.namelist())
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, NotImplementedError, RuntimeError) as error:
        raise BadRelease(f"wheel {name!r} cannot be read: {error}; build it again") from error
    said = (_normal(str(told["Name"])), str(told["Version"]))
    if said != (_normal(distribution), version):
        raise BadRelease(f"wheel {name!r} says inside that it is {said[0]} {said[1]}: expected what its name says")
    return WheelFacts(
        name=name,
        distribution=distribution,
        version=version,
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        files=files,
        requires_python=str(told["Requires-Python"] or ""),
        needs=tuple(n for n in told.get_all("Requires-Dist", []) if "extra ==" not in n),
    )


def approve(repository: ReleaseRepository, wheels: Mapping[str, bytes]) -> list[WheelFacts]:
    """Inspect wheels and sign them with the `engines` key.

    Args:
        repository: Where they go.
        wheels: File name -> bytes: the client's own, and what it newly needs.

    Raises:
        BadRelease: One is refused, or none is the client's own; nothing is signed then.
    """
    facts = [inspect_wheel(name, data) for name, data in wheels.items()]
    own = [f for f in facts if f.distribution == PACKAGE]
    if len(own) != 1 or len(facts) > MOST_WHEELS:
        raise BadRelease(
            f"{[f.name for f in facts]}: expected one {PACKAGE}-VERSION-….whl and the wheels it newly needs, at most "
            f"{MOST_WHEELS} together"
        )
    version_key(own[0].version)
    together = {own[0].name: {"version": own[0].version, _WITH: sorted(wheels)}}
    repository.publish_wheels(wheels, together)
    return facts


def approved(repository: ReleaseRepository) -> dict[str, SoftwareRelease]:
    """Return the approved versions of the client, oldest first."""
    signed = repository.wheels()
    found: dict[str, SoftwareRelease] = {}
    for file in signed.values():
        custom = file.unrecognized_fields.get("custom") or {}
        if _WITH not in custom:
            continue
        wheels = tuple(
            Wheel(name=name, sha256=signed[name].hashes["sha256"], bytes=signed[name].length)
            for name in custom[_WITH]
            if name in signed
        )
        found[str(custom["version"])] = SoftwareRelease(version=str(custom["version"]), wheels=wheels)
    return dict(sorted(found.items(), key=lambda item: version_key(item[0])))


def read(repository: ReleaseRepository) -> Software | None:
    """Return the document in force, or None."""
    data = repository.read_document(SOFTWARE_TARGET)
    return None if data is None else Software.from_json(data)


def choose(repository: ReleaseRepository, version: str, now: datetime) -> Software:
    """Give a version to every device.

    Raises:
        BadRelease: It is not approved.
    """
    release = _approved_version(repository, version)
    return _sign(repository, replace(_now(repository, now), base=release, staged=None))


def stage(repository: ReleaseRepository, version: str, cohort: Cohort, now: datetime) -> Software:
    """Give a version to a cohort, beside the cohorts that have it already (rule 3).

    Raises:
        BadRelease: It is not approved, or another one is staged.
    """
    release = _approved_version(repository, version)
    document = _now(repository, now)
    before = document.staged
    if before is not None and before.release.version != version:
        raise BadRelease(
            f"client {before.release.version} is staged: give it to every device with `andon software set "
            f"{before.release.version}`, or take it back with `andon software halt`, before {version} is staged"
        )
    cohorts = before.cohorts if before is not None else ()
    if cohort not in cohorts:
        cohorts = (*cohorts, cohort)
    staged = StagedSoftware(release=release, salt=f"client/{version}", cohorts=cohorts)
    return _sign(repository, replace(document, staged=staged))


def halt(repository: ReleaseRepository, now: datetime) -> Software:
    """Take the staged version back: its devices return to the base version, or keep what they have without one."""
    return _sign(repository, replace(_now(repository, now), staged=None))


def need(repository: ReleaseRepository, pattern: str, version: str, now: datetime) -> Software:
    """State the least client version that targets need; "" takes a statement away.

    Raises:
        BadRelease: Not a version, or not a pattern of targets.
    """
    if not pattern.startswith(("engines/", "settings/")) or len(pattern) > 256:
        raise BadRelease(f"{pattern!r} is no pattern of targets: expected engines/INSPECTION/* or settings/*")
    document = _now(repository, now)
    needs = {p: v for p, v in document.needs.items() if p != pattern}
    if version:
        version_key(version)
        needs[pattern] = version
    return _sign(repository, replace(document, needs=needs))


def fleet(document: Software | None, statuses: Mapping[str, DeviceStatus]) -> list[DeviceSoftware]:
    """Say what each device runs and should run."""
    rows = []
    for name, status in sorted(statuses.items()):
        heartbeat = status.heartbeat
        facts = DeviceFacts(device=name, site=heartbeat.site, station=heartbeat.station, hardware=heartbeat.hardware)
        release = document.release_for(facts) if document is not None else None
        rows.append(
            DeviceSoftware(
                device=name,
                runs=heartbeat.client_version,
                wanted=release.version if release is not None else "",
                told=heartbeat.software,
                received_at=status.received_at,
            )
        )
    return rows


def counts(rows: Sequence[DeviceSoftware]) -> dict[str, int]:
    """Return how many devices run each version."""
    found: dict[str, int] = {}
    for row in rows:
        found[row.runs] = found.get(row.runs, 0) + 1
    return dict(sorted(found.items()))


def _approved_version(repository: ReleaseRepository, version: str) -> SoftwareRelease:
    known = approved(repository)
    if version not in known:
        listed = ", ".join(known) or "none"
        raise BadRelease(
            f"client {version!r} is not approved; approved are: {listed}. Approve it with `andon software publish "
            "WHEEL`"
        )
    return known[version]


def _now(repository: ReleaseRepository, now: datetime) -> Software:
    document = read(repository)
    return Software(issued_at=now) if document is None else replace(document, issued_at=now)


def _sign(repository: ReleaseRepository, document: Software) -> Software:
    before = read(repository)
    if before is not None and replace(before, issued_at=document.issued_at) == document:
        return before
    repository.put_document(SOFTWARE_TARGET, document.to_json())
    return document


def _check_shape(name: str, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if len(members) > _MAX_FILES or sum(m.file_size for m in members) > _MAX_UNPACKED_BYTES:
        raise BadRelease(f"wheel {name!r} unpacks to more than {_MAX_FILES} files or {_MAX_UNPACKED_BYTES} bytes")
    for member in members:
        parts = member.filename.split("/")
        link = (member.external_attr >> 16) & 0o170000 == 0o120000
        if member.filename.startswith("/") or ".." in parts or "\\" in member.filename or link:
            raise BadRelease(f"wheel {name!r} holds {member.filename[:120]!r}, which leaves its folder: refused")


def _check_record(name: str, info: str, archive: zipfile.ZipFile) -> None:
    recorded: dict[str, str] = {}
    for line in archive.read(f"{info}/RECORD").decode().splitlines():
        path, digest, _ = line.rsplit(",", 2)
        recorded[path.strip('"')] = digest
    for member in archive.namelist():
        if member.endswith("/") or member == f"{info}/RECORD":
            continue
        kind, _, told = recorded.get(member, "").partition("=")
        found = base64.urlsafe_b64encode(hashlib.sha256(archive.read(member)).digest()).rstrip(b"=").decode()
        if (kind, told) != ("sha256", found):
            raise BadRelease(f"wheel {name!r}: {member[:120]!r} is not what its RECORD says: build it again")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
