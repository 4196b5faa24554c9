"""Devices: who may send, and what they last said of themselves.

1. A device's public key is set by enrolment; another key for the same name must be asked for
   (``replace_key``), or comes after a revocation.
2. A revoked device is unknown to ingest: what it sends is quarantined.
3. The status of a device only moves forward: a heartbeat with a sequence number that is not above the
   last one's is dropped (a replay).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DeviceInspectionRow, DeviceRow, DeviceStatusRow, HeartbeatRow
from data.fleet.taking import take_heartbeats
from data.inspections import inspection_in
from data.policy import FleetPolicy
from edge_client.contract.errors import AndonError, BadSignature
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.names import check_name

_T = TypeVar("_T")
PublicKeys = tuple[str, str | None]  # the present one, and the one before a rotation


class DeviceError(AndonError):
    """A device is unknown, revoked, or enrolled already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An enrolled device.

    Attributes:
        inspections: (inspection, channel) pairs it runs.
    """

    name: str
    site: str
    station: str
    public_key_hex: str
    inspections: tuple[tuple[str, str], ...]
    registered_at: datetime
    revoked_at: datetime | None = None
    revoked_reason: str | None = None
    previous_public_key_hex: str | None = None  # before a rotation; believed until all that it signed has arrived

    def verified(self, verify: Callable[[str], _T]) -> _T:
        """Call `verify` with the device's public key, and, where that did not sign, with the one before it.

        Raises:
            BadSignature: Neither signed; as `verify` said of the present one.
        """
        return verified_by((self.public_key_hex, self.previous_public_key_hex), verify)

    @property
    def revoked(self) -> bool:
        """Whether it may no longer send."""
        return self.revoked_at is not None

    @property
    def inspection_names(self) -> tuple[str, ...]:
        """The inspections it may send samples of."""
        return tuple(name for name, _ in self.inspections)


def verified_by(public_keys: PublicKeys, verify: Callable[[str], _T]) -> _T:
    """Call `verify` with the present public key of a device, and, where that did not sign, with the one before it.

    Raises:
        BadSignature: Neither signed; as `verify` said of the present one.
    """
    present, before = public_keys
    try:
        return verify(present)
    except BadSignature:
        if before is None:
            raise
        with contextlib.suppress(BadSignature):
            return verify(before)
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus:
    """The newest heartbeat of a device, and when it came."""

    heartbeat: Heartbeat
    received_at: datetime


def register_device(
    catalog: Catalog,
    name: str,
    site: str,
    station: str,
    inspections: Sequence[str],
    public_key_hex: str,
    *,
    at: datetime,
    channel: str = "stable",
    replace_key: bool = False,
) -> Device:
    """Enrol a device, or change its place and inspections. The same call again is harmless.

    Args:
        catalog: The catalog.
        name: Device name; also its prefix in the bucket.
        site: Plant.
        station: Place on the line.
        inspections: Inspections it runs; each must exist.
        public_key_hex: Raw Ed25519 public key, 64 hex digits.
        at: When.
        channel: The channel it follows, for each inspection.
        replace_key: Accept another key than the one it was enrolled with.

    Raises:
        InvalidName: a name is not allowed.
        DeviceError: it is enrolled with another key, the key is not one, or no inspection is given.
        InspectionError: an inspection does not exist.
    """
    check_name(name, "device")
    check_name(site, "site")
    check_name(station, "station")
    check_name(channel, "channel")
    if len(public_key_hex) != 64 or not set(public_key_hex) <= set("0123456789abcdef"):
        raise DeviceError(f"device {name!r}: public key {public_key_hex[:70]!r} is not 64 lower-case hex digits")
    if not inspections:
        raise DeviceError(f"device {name!r}: no inspection is given; a device runs at least one")
    with catalog.session() as session:
        for inspection in inspections:
            inspection_in(session, inspection)
        row = session.get(DeviceRow, name, with_for_update=True)
        if row is None:
            row = DeviceRow(name=name, registered_at=at)
            session.add(row)
        elif row.public_key_hex != public_key_hex:
            if row.revoked_at is None and not replace_key:
                raise DeviceError(
                    f"device {name!r} is enrolled already, with another key; `andon revoke {name}` first, "
                    "or choose another name"
                )
            # A new life: its sequence numbers begin again.
            session.execute(delete(DeviceStatusRow).where(DeviceStatusRow.device == name))
        elif row.revoked_at is not None:
            raise DeviceError(f"device {name!r}: this key was revoked; enrol it with a new key")
        row.site, row.station, row.public_key_hex = site, station, public_key_hex
        row.revoked_at = row.revoked_reason = None
        row.previous_public_key_hex = row.previous_until = None
        session.flush()
        session.execute(delete(DeviceInspectionRow).where(DeviceInspectionRow.device == name))
        for inspection in dict.fromkeys(inspections):
            session.add(DeviceInspectionRow(device=name, inspection=inspection, channel=channel))
        session.flush()
        return _device(session, row)


def replace_public_key(catalog: Catalog, name: str, public_key_hex: str, *, previous_until: datetime) -> Device:
    """Take over the key that a device made for itself; the one before it is believed for a while.

    Raises:
        DeviceError: unknown or revoked device.
    """
    with catalog.session() as session:
        row = session.get(DeviceRow, name, with_for_update=True)
        if row is None:
            raise _unknown(session, name)
        if row.revoked_at is not None:
            raise DeviceError(f"device {name!r} was revoked: enrol it anew (`andon enroll {name}`)")
        if row.public_key_hex != public_key_hex:
            row.previous_public_key_hex, row.previous_until = row.public_key_hex, previous_until
            row.public_key_hex = public_key_hex
        return _device(session, row)


def end_previous_keys(catalog: Catalog, now: datetime) -> int:
    """Believe no longer the keys before a rotation whose time is over; return how many there were."""
    with catalog.session() as session:
        ended = session.execute(
            update(DeviceRow)
            .where(DeviceRow.previous_until < now)
            .values(previous_public_key_hex=None, previous_until=None)
        )
        return int(ended.rowcount)  # type: ignore[attr-defined]  # a cursor's, for an UPDATE


def revoke_device(catalog: Catalog, name: str, *, at: datetime, reason: str = "") -> Device:
    """End a device's right to send. Revoking it again changes nothing.

    Raises:
        DeviceError: unknown device.
    """
    with catalog.session() as session:
        row = session.get(DeviceRow, name, with_for_update=True)
        if row is None:
            raise _unknown(session, name)
        if row.revoked_at is None:
            row.revoked_at, row.revoked_reason = at, reason
        row.previous_public_key_hex = row.previous_until = None
        return _device(session, row)


def get_device(catalog: Catalog, name: str) -> Device:
    """The device of that name, revoked ones included.

    Raises:
        DeviceError: unknown device.
    """
    with catalog.reading() as session:
        row = session.get(DeviceRow, name)
        if row is None:
            raise _unknown(session, name)
        return _device(session, row)


def devices_named(session: Session, names: Sequence[str]) -> dict[str, Device]:
    """Those of these devices that are known, revoked ones included."""
    return {
        row.name: _device(session, row) for row in session.scalars(select(DeviceRow).where(DeviceRow.name.in_(names)))
    }


def list_devices(catalog: Catalog, inspection: str | None = None) -> list[Device]:
    """Devices by name, of one inspection or all, revoked ones included."""
    with catalog.reading() as session:
        query = select(DeviceRow).order_by(DeviceRow.name)
        if inspection is not None:
            query = query.join(DeviceInspectionRow).where(DeviceInspectionRow.inspection == inspection)
        rows = session.scalars(query).all()
        every = select(DeviceInspectionRow).order_by(DeviceInspectionRow.device, DeviceInspectionRow.inspection)
        runs: dict[str, list[DeviceInspectionRow]] = {}
        for run in session.scalars(every):  # one query for a fleet, not one for each device
            runs.setdefault(run.device, []).append(run)
        return [_described(row, runs.get(row.name, [])) for row in rows]


def devices_by_channel(catalog: Catalog, inspection: str) -> dict[str, int]:
    """How many devices in service follow each channel of an inspection."""
    query = (
        select(DeviceInspectionRow.channel, func.count())
        .join(DeviceRow, DeviceRow.name == DeviceInspectionRow.device)
        .where(DeviceInspectionRow.inspection == inspection, DeviceRow.revoked_at.is_(None))
        .group_by(DeviceInspectionRow.channel)
    )
    with catalog.reading() as session:
        return {channel: int(count) for channel, count in session.execute(query)}


def set_channel(catalog: Catalog, device: str, inspection: str, channel: str) -> None:
    """Note which channel a device follows for an inspection.

    Raises:
        DeviceError: the device does not run that inspection.
    """
    check_name(channel, "channel")
    with catalog.session() as session:
        row = session.get(DeviceInspectionRow, (device, inspection))
        if row is None:
            raise DeviceError(f"device {device!r} does not run inspection {inspection!r}; enrol it for it first")
        row.channel = channel


def record_heartbeat(catalog: Catalog, heartbeat: Heartbeat, *, received_at: datetime, keep: int = 2_000) -> bool:
    """Take over a *verified* heartbeat.

    Args:
        catalog: The catalog.
        heartbeat: Its signature was checked with the device's registered key.
        received_at: When it was read.
        keep: How many of the device stay in the history.

    Returns:
        Whether it was newer than the one known; an old one changes nothing.

    Raises:
        DeviceError: unknown or revoked device.
    """
    with catalog.session() as session:
        device = session.get(DeviceRow, heartbeat.device, with_for_update=True)
        if device is None:
            raise _unknown(session, heartbeat.device)
        if device.revoked_at is not None:
            raise DeviceError(f"device {heartbeat.device!r} was revoked at {device.revoked_at}; heartbeat dropped")
        taken = take_heartbeats(
            session,
            [(heartbeat, received_at)],
            policy=FleetPolicy(),
            keep=keep,
            every=timedelta(0),
            at=received_at,
        )
        return bool(taken.fresh)


def device_statuses(catalog: Catalog, inspection: str | None = None) -> dict[str, DeviceStatus]:
    """The newest heartbeat by device; devices that never sent one are missing."""
    with catalog.reading() as session:
        query = select(DeviceStatusRow).order_by(DeviceStatusRow.device)
        if inspection is not None:
            query = query.join(DeviceInspectionRow, DeviceInspectionRow.device == DeviceStatusRow.device).where(
                DeviceInspectionRow.inspection == inspection
            )
        return {
            row.device: DeviceStatus(heartbeat=Heartbeat.from_payload(row.payload), received_at=row.received_at)
            for row in session.scalars(query)
        }


def device_status(catalog: Catalog, device: str) -> DeviceStatus | None:
    """The newest heartbeat of one device; None when it never sent one."""
    with catalog.reading() as session:
        row = session.get(DeviceStatusRow, device)
        if row is None:
            return None
        return DeviceStatus(heartbeat=Heartbeat.from_payload(row.payload), received_at=row.received_at)


def heartbeat_history(catalog: Catalog, device: str, *, since: datetime | None = None) -> list[Heartbeat]:
    """Heartbeats of a device, oldest first."""
    with catalog.reading() as session:
        query = select(HeartbeatRow).where(HeartbeatRow.device == device).order_by(HeartbeatRow.id)
        if since is not None:
            query = query.where(HeartbeatRow.received_at >= since)
        return [Heartbeat.from_payload(row.payload) for row in session.scalars(query)]


def _device(session: Session, row: DeviceRow) -> Device:
    runs = session.scalars(
        select(DeviceInspectionRow)
        .where(DeviceInspectionRow.device == row.name)
        .order_by(DeviceInspectionRow.inspection)
    )
    return _described(row, runs)


def _described(row: DeviceRow, runs: Iterable[DeviceInspectionRow]) -> Device:
    return Device(
        name=row.name,
        site=row.site,
        station=row.station,
        public_key_hex=row.public_key_hex,
        inspections=tuple((run.inspection, run.channel) for run in runs),
        registered_at=row.registered_at,
        revoked_at=row.revoked_at,
        revoked_reason=row.revoked_reason,
        previous_public_key_hex=row.previous_public_key_hex,
    )


def _unknown(session: Session, name: str) -> DeviceError:
    known = list(session.scalars(select(DeviceRow.name).order_by(DeviceRow.name).limit(20)))
    return DeviceError(f"device {name!r} is unknown; known are {known}; enrol it with `andon enroll`")
