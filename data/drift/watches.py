"""How far a device was looked at, in the catalog: one row for each device and kind.

A look reads the row, works without a transaction, and writes only if the row is as it was: whoever closed an alarm in
between is not overruled.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, literal, select, tuple_
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DriftAlarmRow, DriftWatchRow, WindowRow
from data.drift.alarms import DriftAlarm, DriftError, alarm_of

PICTURES, RATES = "pictures", "rates"
START = (-1, -1)  # before every window
_LONGEST_GAP = timedelta(days=1)  # a holiday adds no more to the budget than a day
_YEAR = timedelta(days=365)

Number = tuple[int, int]  # epoch, window


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What is looked at: one device of an inspection, and the false alarms a year that each kind may raise there."""

    inspection: str
    name: str
    allowed: float
    reference_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A row of `drift_watches`.

    Attributes:
        since: The window after which the reference begins.
        seen: The newest window looked at.
        seen_at: When that one closed, on the device's clock.
        engine_id: Of the windows looked at.
        reference: What the reference is made of, for people.
        state: See :mod:`data.drift.stored`; None while the reference is too short.
    """

    since: Number = START
    seen: Number = START
    seen_at: datetime | None = None
    engine_id: str | None = None
    reference: str = "nothing yet"
    state: bytes | None = None

    def from_window(self, number: Number, engine_id: str | None = None) -> Watched:
        """Begin anew behind a window."""
        return Watched(since=number, seen=number, engine_id=engine_id)


def load(session: Session, device: Device, kind: str) -> Watched:
    """Read a row; a device that was never looked at has none."""
    row = session.get(DriftWatchRow, (device.inspection, device.name, kind))
    return Watched() if row is None else _watched(row)


def save(session: Session, device: Device, kind: str, before: Watched, after: Watched) -> bool:
    """Write a row if it still is as it was. Returns whether it was."""
    key = (device.inspection, device.name, kind)
    row = session.get(DriftWatchRow, key, with_for_update=True)
    if before != (Watched() if row is None else _watched(row)):
        return False
    if row is None:
        row = DriftWatchRow(inspection=device.inspection, device=device.name, kind=kind)
        session.add(row)
    _fill(row, after)
    return True


def close_alarm(
    catalog: Catalog,
    alarm_id: int,
    *,
    inspection: str,
    who: str,
    at: datetime,
    new_normal: bool,
    note: str = "",
) -> DriftAlarm:
    """Close an alarm: mended, or the new normal, with which the reference begins anew.

    Raises:
        DriftError: no such alarm, or it is closed.
    """
    with catalog.session() as session:
        alarm = session.get(DriftAlarmRow, alarm_id, with_for_update=True)
        if alarm is None or alarm.inspection != inspection:
            raise DriftError(f"inspection {inspection!r} has no drift alarm {alarm_id}; `andon drift` lists them")
        if alarm.closed_at is not None:
            raise DriftError(f"drift alarm {alarm_id} is closed already, by {alarm.closed_by}: {alarm.note}")
        alarm.closed_at, alarm.closed_by = at, who
        alarm.note = note or ("the new normal" if new_normal else "mended")
        watch = session.get(DriftWatchRow, (alarm.inspection, alarm.device, alarm.kind))
        if new_normal and watch is not None:
            _fill(watch, _watched(watch).from_window((watch.seen_epoch, watch.seen_window)))
        return alarm_of(alarm)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedDevice:
    """What a device is compared with, for people.

    Attributes:
        ready: Whether the reference is complete.
        seen_at: When the newest window closed that was looked at.
    """

    name: str
    kind: str
    reference: str
    ready: bool
    seen_at: datetime | None

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**asdict(self), "seen_at": self.seen_at and self.seen_at.isoformat()}


def watched_devices(catalog: Catalog, inspection: str) -> list[WatchedDevice]:
    """Every device that was looked at, by name and kind."""
    query = (
        select(DriftWatchRow)
        .where(DriftWatchRow.inspection == inspection)
        .order_by(DriftWatchRow.device, DriftWatchRow.kind)
    )
    with catalog.reading() as session:
        return [
            WatchedDevice(
                name=row.device,
                kind=row.kind,
                reference=row.reference,
                ready=row.state is not None,
                seen_at=row.seen_at,
            )
            for row in session.scalars(query)
        ]


def windows_after(device: Device, number: Number, *, until: Number | None = None) -> Select[tuple[WindowRow]]:
    """A device's windows behind one, up to another, oldest first."""
    place = tuple_(WindowRow.epoch, WindowRow.window)
    query = (
        select(WindowRow)
        .where(WindowRow.inspection == device.inspection, WindowRow.device == device.name)
        .where(place > tuple_(literal(number[0]), literal(number[1])))
        .order_by(WindowRow.epoch, WindowRow.window)
    )
    return query if until is None else query.where(place <= tuple_(literal(until[0]), literal(until[1])))


def budget(device: Device, before: datetime | None, now: datetime) -> float:
    """False alarms that may have happened between two windows."""
    if before is None:
        return 0.0
    gap = min(max(now - before, timedelta(0)), _LONGEST_GAP)
    return device.allowed / 2 * (gap / _YEAR)


def _watched(row: DriftWatchRow) -> Watched:
    return Watched(
        since=(row.since_epoch, row.since_window),
        seen=(row.seen_epoch, row.seen_window),
        seen_at=row.seen_at,
        engine_id=row.engine_id,
        reference=row.reference,
        state=row.state,
    )


def _fill(row: DriftWatchRow, watched: Watched) -> None:
    row.since_epoch, row.since_window = watched.since
    row.seen_epoch, row.seen_window = watched.seen
    row.seen_at, row.engine_id = watched.seen_at, watched.engine_id
    row.reference, row.state = watched.reference, watched.state
