"""Ingest of the fleet's signed heartbeats, `fleet/<device>/status.json`.

1. A heartbeat is believed if the registered, unrevoked device that its key names signed it, for itself.
2. What is not believed is noted in the quarantine (one row for each key, the newest reason) and changes nothing
   else; the object stays where it is, since the device will write over it.
3. A status only moves forward (`record_heartbeat`); an unchanged or replayed one is `stale`, which is no error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from data.catalog import Catalog
from data.devices import Device, DeviceError, list_devices, record_heartbeat
from data.quarantine import Kind, Quarantined, record_quarantined
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError, BadRecord, BadSignature, BucketError, InvalidName, NotFound
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.names import check_name

_MOST_BYTES = 1 << 20


@dataclass(slots=True, kw_only=True)
class HeartbeatReport:
    """What one run did: devices whose status is new or stale, (key, reason) of the rest."""

    new: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    deferred: list[tuple[str, str]] = field(default_factory=list)


class _Disbelieved(AndonError):
    """A heartbeat that is not believed."""


def ingest_heartbeats(
    catalog: Catalog,
    bucket: Bucket,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    *,
    keep: int = 2_000,
) -> HeartbeatReport:
    """Read every device's heartbeat.

    Args:
        catalog: the catalog.
        bucket: the bucket.
        clock: aware time of the cloud.
        keep: how many of each device stay in the history.

    Raises:
        BucketError: the fleet cannot be listed.
    """
    report = HeartbeatReport()
    devices = {device.name: device for device in list_devices(catalog)}
    for info in bucket.list("fleet/"):
        if not info.key.endswith("/status.json"):
            continue
        name = info.key.removeprefix("fleet/").removesuffix("/status.json")
        try:
            heartbeat = _believe(bucket, info.key, name, devices.get(name))
            fresh = record_heartbeat(catalog, heartbeat, received_at=clock(), keep=keep)
            (report.new if fresh else report.stale).append(name)
        except NotFound:
            continue
        except (_Disbelieved, DeviceError) as error:
            _note(catalog, info.key, name, str(error), info.bytes, clock())
            report.rejected.append((info.key, str(error)))
        except BucketError as error:
            report.deferred.append((info.key, str(error)))
    return report


def _believe(bucket: Bucket, key: str, name: str, device: Device | None) -> Heartbeat:
    try:
        check_name(name, "device")
    except InvalidName as error:
        raise _Disbelieved(str(error)) from error
    if device is None:
        raise _Disbelieved(f"device {name!r} is not registered; enrol it with `andon enroll`")
    if device.revoked:
        raise _Disbelieved(f"device {name!r} was revoked at {device.revoked_at:%Y-%m-%d %H:%M} UTC")
    info = bucket.head(key)
    if info is not None and info.bytes > _MOST_BYTES:
        raise _Disbelieved(f"the heartbeat has {info.bytes} bytes, at most {_MOST_BYTES} are read")
    try:
        document = bucket.get(key, max_bytes=_MOST_BYTES)
        heartbeat = device.verified(lambda public_key: Heartbeat.verify(document, public_key))
    except (BadSignature, BadRecord) as error:
        raise _Disbelieved(str(error)) from error
    if heartbeat.device != name:
        raise _Disbelieved(f"the heartbeat is of device {heartbeat.device!r}, but lies in the place of {name!r}")
    return heartbeat


def _note(catalog: Catalog, key: str, name: str, reason: str, size: int, at: datetime) -> None:
    item = Quarantined(kind=Kind.HEARTBEAT, key=key, device=name[:63], reason=reason, bytes=size)
    with catalog.session() as session:
        record_quarantined(session, item, at=at)
