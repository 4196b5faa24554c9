"""Keeps the fleet's table and its counts right.

1. A device's row and the cell it is counted in change in the transaction that changes its status or its silence: the
   counts are never those of another moment than the rows.
2. A row is made from the registration and the newest status alone (`facts`): making it again changes nothing.
3. `reconcile` finds the devices whose row is not what it should be (enrolled, revoked, moved or begun anew since) by
   comparing columns, and makes only theirs again.
4. A silent device that is heard, or revoked, closes its alarm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import (
    DeviceInspectionRow,
    DeviceRow,
    DeviceStatusRow,
    FleetCellRow,
    FleetDeviceRow,
    SilenceAlarmRow,
)
from data.fleet.facts import REVOKED, SILENT, UNHEARD, Facts, Registration, facts_of
from data.policy import FleetPolicy

Cell = tuple[str, str, str, str, str, str]
_NAMES = ("site", "inspection", "state", "outcome", "engine_id", "client_version")
_AT_ONCE = 500  # devices in one statement


def reconcile(catalog: Catalog, policy: FleetPolicy, *, at: datetime) -> int:
    """Make the rows again that are not what they should be (rule 3). Returns how many."""
    with catalog.reading() as session:
        names = _stale(session)
    for start in range(0, len(names), _AT_ONCE):
        with catalog.session() as session:
            replace_rows(session, names[start : start + _AT_ONCE], policy, at=at)
    return len(names)


def replace_rows(session: Session, names: Sequence[str], policy: FleetPolicy, *, at: datetime) -> list[str]:
    """Make the rows of devices again, inside a transaction of the caller's.

    Returns:
        The devices that were silent and are heard again.
    """
    ordered = sorted(set(names))
    query = select(FleetDeviceRow).where(FleetDeviceRow.device.in_(ordered)).order_by(FleetDeviceRow.device)
    rows = {row.device: row for row in session.scalars(query.with_for_update())}
    statuses = {
        row.device: row for row in session.scalars(select(DeviceStatusRow).where(DeviceStatusRow.device.in_(ordered)))
    }
    moved: Counter[Cell] = Counter()
    heard: list[str] = []
    closed: list[str] = []
    for known in _registrations(session, ordered):
        status = statuses.get(known.device)
        facts = facts_of(known, status.payload if status else None, status.received_at if status else None, policy)
        row = rows.get(known.device)
        if row is None:
            session.add(FleetDeviceRow(device=known.device, kept_at=None, **asdict(facts)))
        else:
            facts = _still_silent(row, facts)
            if row.state == SILENT and facts.state != SILENT:
                closed.append(known.device)
                if facts.state != REVOKED:
                    heard.append(known.device)
            moved[cell_of(row)] -= 1
            for spec in fields(Facts):
                setattr(row, spec.name, getattr(facts, spec.name))
        moved[facts.cell] += 1
    _close_alarms(session, closed, at)
    session.flush()
    count(session, moved)
    return heard


def count(session: Session, moved: Mapping[Cell, int]) -> None:
    """Add to the cells what moved into and out of them."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for cell, devices in sorted(moved.items()):
        if devices:
            added = insert(FleetCellRow).values(**dict(zip(_NAMES, cell, strict=True)), devices=devices)
            session.execute(
                added.on_conflict_do_update(
                    index_elements=list(_NAMES), set_={"devices": FleetCellRow.devices + added.excluded.devices}
                )
            )
    if any(devices < 0 for devices in moved.values()):
        session.execute(delete(FleetCellRow).where(FleetCellRow.devices == 0))


def cell_of(row: FleetDeviceRow) -> Cell:
    """With which devices a row is counted."""
    return (row.site, row.inspection, row.state, row.outcome, row.engine_id, row.client_version)


def _still_silent(row: FleetDeviceRow, facts: Facts) -> Facts:
    """What is silent stays so until something is heard."""
    silent = row.state == SILENT and facts.state != REVOKED and row.heard_at == facts.heard_at
    return replace(facts, state=SILENT) if silent else facts


def _close_alarms(session: Session, names: Iterable[str], at: datetime) -> None:
    if listed := list(names):
        session.execute(
            update(SilenceAlarmRow)
            .where(SilenceAlarmRow.device.in_(listed), SilenceAlarmRow.cleared_at.is_(None))
            .values(cleared_at=at)
        )


def _registrations(session: Session, names: Sequence[str]) -> list[Registration]:
    runs: dict[str, tuple[str, str]] = {}
    query = select(DeviceInspectionRow).where(DeviceInspectionRow.device.in_(names))
    for run in session.scalars(query.order_by(DeviceInspectionRow.device, DeviceInspectionRow.inspection)):
        runs.setdefault(run.device, (run.inspection, run.channel))
    found = []
    for row in session.scalars(select(DeviceRow).where(DeviceRow.name.in_(names)).order_by(DeviceRow.name)):
        inspection, channel = runs.get(row.name, ("", ""))
        found.append(
            Registration(
                device=row.name,
                site=row.site,
                station=row.station,
                inspection=inspection,
                channel=channel,
                registered_at=row.registered_at,
                revoked=row.revoked_at is not None,
            )
        )
    return found


def _stale(session: Session) -> list[str]:
    fleet: Any = FleetDeviceRow
    revoked, shown = DeviceRow.revoked_at.is_not(None), fleet.state == REVOKED
    query = (
        select(DeviceRow.name)
        .outerjoin(FleetDeviceRow, fleet.device == DeviceRow.name)
        .outerjoin(DeviceStatusRow, DeviceStatusRow.device == DeviceRow.name)
        .where(
            or_(
                fleet.device.is_(None),
                and_(revoked, ~shown),
                and_(~revoked, shown),
                fleet.site != DeviceRow.site,
                fleet.station != DeviceRow.station,
                and_(DeviceStatusRow.device.is_(None), fleet.heard_at.is_not(None)),
                and_(DeviceStatusRow.device.is_not(None), fleet.state == UNHEARD),
            )
        )
    )
    return list(session.scalars(query.order_by(DeviceRow.name)))
