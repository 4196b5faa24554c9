"""Takes verified heartbeats over: many in one transaction, since a commit costs more than a row.

1. A status only moves forward: a heartbeat whose sequence is not above the last one's changes nothing.
2. The history keeps one heartbeat in `every`, and each that tells of something of substance: ten thousand devices say
   three million things a day, and few of them are news.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from data.catalog.models import DeviceStatusRow, FleetDeviceRow, HeartbeatRow
from data.fleet.facts import is_news
from data.fleet.rows import replace_rows
from data.policy import FleetPolicy
from edge_client.contract.heartbeat import Heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was taken over: devices with a new status, and of them the ones that had been silent."""

    fresh: tuple[str, ...]
    heard_again: tuple[str, ...]


def take_heartbeats(
    session: Session,
    beats: Sequence[tuple[Heartbeat, datetime]],
    *,
    policy: FleetPolicy,
    keep: int,
    every: timedelta,
    at: datetime,
) -> Taken:
    """Take over heartbeats, inside a transaction of the caller's.

    Args:
        session: Of the catalog.
        beats: Verified heartbeats of registered devices, each with when it came; one a device.
        policy: Says when silence is an alarm.
        keep: How many of each device stay in the history.
        every: One in so long goes into the history, whatever it says.
        at: Now.
    """
    names = sorted({beat.device for beat, _ in beats})
    query = select(DeviceStatusRow).where(DeviceStatusRow.device.in_(names)).order_by(DeviceStatusRow.device)
    statuses = {row.device: row for row in session.scalars(query.with_for_update())}
    kept_at: dict[str, datetime | None] = dict(
        session.execute(select(FleetDeviceRow.device, FleetDeviceRow.kept_at).where(FleetDeviceRow.device.in_(names)))
        .tuples()
        .all()
    )
    fresh: list[str] = []
    kept: list[str] = []
    for beat, came in beats:
        status = statuses.get(beat.device)
        if status is not None and beat.sequence <= status.sequence:
            continue
        payload = beat.to_payload()
        last = kept_at.get(beat.device)
        if last is None or came - last >= every or is_news(None if status is None else status.payload, payload):
            session.add(
                HeartbeatRow(
                    device=beat.device,
                    sequence=beat.sequence,
                    sent_at=beat.sent_at,
                    received_at=came,
                    payload=payload,
                )
            )
            kept.append(beat.device)
        if status is None:
            status = statuses[beat.device] = DeviceStatusRow(device=beat.device)
            session.add(status)
        status.sequence, status.sent_at, status.received_at = beat.sequence, beat.sent_at, came
        status.inspection, status.channel = beat.inspection, beat.channel
        status.engine_id, status.engine_sha256 = beat.engine_id, beat.engine_sha256
        status.health, status.payload = beat.health, payload
        fresh.append(beat.device)
    session.flush()
    heard = replace_rows(session, fresh, policy, at=at) if fresh else []
    if kept:
        session.execute(update(FleetDeviceRow).where(FleetDeviceRow.device.in_(kept)).values(kept_at=at))
    for device in kept:
        _trim(session, device, keep)
    return Taken(fresh=tuple(fresh), heard_again=tuple(heard))


def _trim(session: Session, device: str, keep: int) -> None:
    oldest: Any = (
        select(HeartbeatRow.id)
        .where(HeartbeatRow.device == device)
        .order_by(HeartbeatRow.id.desc())
        .offset(keep - 1)
        .limit(1)
        .scalar_subquery()
    )
    session.execute(delete(HeartbeatRow).where(HeartbeatRow.device == device, HeartbeatRow.id < oldest))
