"""Alarms in the catalog: raised by a look, answered by policy, closed by a person or by a new reference.

1. A device has at most one open alarm of a kind: what is known already is not told again.
2. Closing says what the person found: *mended* (the line is back in its band: the reference stays) or *the new normal*
   (the reference begins anew with the next window).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DriftAlarmRow, WindowRow
from data.drift.finding import Cause
from edge_client.contract.errors import AndonError


class DriftError(AndonError):
    """There is no such alarm, or it is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftAlarm:
    """One alarm.

    Attributes:
        kind: ``pictures`` or ``rates``.
        cause: Likely; see :class:`data.drift.finding.Cause`.
        words: The same for people.
        figures: What was measured against the reference.
        at: When the cloud saw it.
        window_at: When the window closed that raised it.
        began_at: The likely beginning.
        action: What was done by policy: ``""`` (not yet), ``nothing``, ``labels``, ``retrain``.
        asked: Labels asked for.
        closed_at: None while it is open.
    """

    id: int
    inspection: str
    device: str
    station: str
    kind: str
    cause: str
    words: str
    figures: Mapping[str, Any]
    at: datetime
    window_at: datetime
    began_at: datetime | None
    action: str
    asked: int
    closed_at: datetime | None
    closed_by: str | None
    note: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        value = asdict(self)
        instants = ("at", "window_at", "began_at", "closed_at")
        return {**value, **{name: value[name] and value[name].isoformat() for name in instants}}


def list_alarms(
    catalog: Catalog, inspection: str | None = None, *, only_open: bool = False, limit: int = 100
) -> list[DriftAlarm]:
    """Alarms, newest first."""
    query = select(DriftAlarmRow).order_by(DriftAlarmRow.id.desc()).limit(limit)
    if inspection is not None:
        query = query.where(DriftAlarmRow.inspection == inspection)
    if only_open:
        query = query.where(DriftAlarmRow.closed_at.is_(None))
    with catalog.reading() as session:
        return [alarm_of(row) for row in session.scalars(query)]


def record_action(catalog: Catalog, alarm_id: int, action: str, asked: int) -> None:
    """Note what policy did about an alarm."""
    with catalog.session() as session:
        row = session.get_one(DriftAlarmRow, alarm_id)
        row.action, row.asked = action, row.asked + asked


def raise_alarm(
    session: Session,
    window: WindowRow,
    kind: str,
    *,
    cause: Cause,
    words: str,
    figures: Mapping[str, Any],
    began_at: datetime,
    at: datetime,
) -> DriftAlarm:
    """Add the alarm that a device's window raised; policy has not answered it yet."""
    row = DriftAlarmRow(
        inspection=window.inspection,
        device=window.device,
        station=window.station,
        kind=kind,
        cause=cause.value,
        words=words,
        figures=dict(figures),
        at=at,
        window_at=window.closed_at,
        began_at=began_at,
        action="",
        asked=0,
        note="",
    )
    session.add(row)
    session.flush()
    return alarm_of(row)


def open_alarm_of(session: Session, inspection: str, device: str, kind: str) -> DriftAlarmRow | None:
    """The open alarm of a kind, if there is one (rule 1)."""
    query = select(DriftAlarmRow).where(
        DriftAlarmRow.inspection == inspection,
        DriftAlarmRow.device == device,
        DriftAlarmRow.kind == kind,
        DriftAlarmRow.closed_at.is_(None),
    )
    return session.scalars(query).first()


def alarm_of(row: DriftAlarmRow) -> DriftAlarm:
    """The value of a row."""
    return DriftAlarm(
        id=row.id,
        inspection=row.inspection,
        device=row.device,
        station=row.station,
        kind=row.kind,
        cause=row.cause,
        words=row.words,
        figures=row.figures,
        at=row.at,
        window_at=row.window_at,
        began_at=row.began_at,
        action=row.action,
        asked=row.asked,
        closed_at=row.closed_at,
        closed_by=row.closed_by,
        note=row.note,
    )
