"""Rollouts in the catalog.

1. A rollout is written over only if its revision is the one that was read: a person's act and a look at evidence that
   meet change it one after the other.
2. Beginning one ends the open one of the same channel, in one transaction; the schema allows one open at most.
3. What devices showed is written together with what was decided from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import RolloutDeviceRow, RolloutRow
from data.rollouts.acts import ACTS, changed
from data.rollouts.records import Record
from data.rollouts.stages import Stage
from data.rollouts.values import OPEN, Event, Rollout, RolloutError, State
from edge_client.contract.releases import Cohort, NamedEngine


def newest_rollout(catalog: Catalog, inspection: str, channel: str) -> Rollout | None:
    """The newest rollout of a channel, open or not; None when there never was one."""
    with catalog.reading() as session:
        row = _newest(session, inspection, channel)
        return None if row is None else _rollout(row)


def list_rollouts(catalog: Catalog, inspection: str, *, limit: int = 20) -> list[Rollout]:
    """Rollouts of an inspection, newest first."""
    with catalog.reading() as session:
        query = select(RolloutRow).where(RolloutRow.inspection == inspection)
        return [_rollout(row) for row in session.scalars(query.order_by(RolloutRow.id.desc()).limit(limit))]


def unsigned(catalog: Catalog, inspection: str) -> dict[str, str]:
    """Channels whose newest rollout was changed since the channel was signed, and what says which change it was."""
    found: dict[str, str] = {}
    with catalog.reading() as session:
        newest = select(func.max(RolloutRow.id)).where(RolloutRow.inspection == inspection).group_by(RolloutRow.channel)
        query = select(RolloutRow.id, RolloutRow.channel, RolloutRow.revision).where(
            RolloutRow.id.in_(newest), RolloutRow.revision != RolloutRow.signed_revision
        )
        for number, channel, revision in session.execute(query):
            found[channel] = f"rollout {number} revision {revision}"
    return found


def any_open(catalog: Catalog, inspection: str) -> bool:
    """Whether devices of an inspection run two versions because of a rollout."""
    with catalog.reading() as session:
        query = select(RolloutRow.id).where(
            RolloutRow.inspection == inspection, RolloutRow.state.in_([state.value for state in OPEN])
        )
        return session.scalars(query.limit(1)).first() is not None


def begin_rollout(catalog: Catalog, rollout: Rollout) -> Rollout:
    """Store a new rollout and end the open one of its channel (rule 2)."""
    with catalog.session() as session:
        query = select(RolloutRow).where(
            RolloutRow.inspection == rollout.inspection,
            RolloutRow.channel == rollout.channel,
            RolloutRow.state.in_([state.value for state in OPEN]),
        )
        for row in session.scalars(query.with_for_update()):
            ended = changed(
                _rollout(row),
                State.SUPERSEDED,
                who="the release flow",
                what="supersede",
                why=f"version {rollout.version} took its place",
                at=rollout.started_at,
            )
            _write(row, ended)
        session.flush()
        return _rollout(_add(session, rollout))


def save_rollout(catalog: Catalog, rollout: Rollout, *, read: int, records: Mapping[str, Record] | None = None) -> bool:
    """Write a rollout, and records of devices, over the revision that was read (rules 1 and 3).

    Returns:
        False if somebody else had changed it meanwhile; then nothing is written.
    """
    with catalog.session() as session:
        row = session.get(RolloutRow, rollout.id, with_for_update=True)
        if row is None or row.revision != read:
            return False
        _write(row, rollout)
        rows = [
            {"rollout": rollout.id, "device": device, "record": record.to_dict()}
            for device, record in (records or {}).items()
        ]
        known = set(session.scalars(select(RolloutDeviceRow.device).where(RolloutDeviceRow.rollout == rollout.id)))
        for statement, of in ((insert, False), (update, True)):
            if some := [each for each in rows if (each["device"] in known) is of]:
                session.execute(statement(RolloutDeviceRow), some)
        return True


def mark_signed(catalog: Catalog, rollout: Rollout) -> None:
    """Note that the channel says what this revision of the rollout says."""
    with catalog.session() as session:
        session.execute(update(RolloutRow).where(RolloutRow.id == rollout.id).values(signed_revision=rollout.revision))


def act(
    catalog: Catalog,
    inspection: str,
    channel: str,
    what: str,
    *,
    who: str,
    why: str,
    at: datetime,
    rollout: int | None = None,
) -> Rollout:
    """Let a person hold, resume, advance, halt or revert the rollout of a channel.

    Args:
        catalog: The catalog.
        inspection: What is inspected.
        channel: Whose devices.
        what: One of `ACTS`.
        who: Says so.
        why: Kept with the rollout.
        at: Aware time.
        rollout: The id of the one that the person saw; another one is refused. None: whichever is the newest.

    Raises:
        RolloutError: There is none, a newer one began, or its state does not allow it.
    """
    with catalog.session() as session:
        row = _newest(session, inspection, channel, lock=True)
        if row is None:
            raise RolloutError(
                f"channel {channel} of {inspection} never had a rollout: one begins when an alias in MLflow moves "
                "(or with `andon release --promote VERSION`)"
            )
        if rollout is not None and row.id != rollout:
            raise RolloutError(
                f"a newer rollout of version {row.version} to {channel} of {inspection} has begun: look at it first"
            )
        before = _rollout(row)
        after = ACTS[what](before, who, why, at)
        if after.id == 0:
            return _rollout(_add(session, after))
        _write(row, after)
        session.flush()
        return _rollout(row)


def records_of(catalog: Catalog, rollout: Rollout) -> dict[str, Record]:
    """What devices showed, by name; of the newest rollout of a channel alone."""
    with catalog.reading() as session:
        query = select(RolloutDeviceRow).where(RolloutDeviceRow.rollout == rollout.id)
        return {row.device: Record.from_dict(row.record) for row in session.scalars(query)}


def _newest(session: Session, inspection: str, channel: str, *, lock: bool = False) -> RolloutRow | None:
    query = select(RolloutRow).where(RolloutRow.inspection == inspection, RolloutRow.channel == channel)
    query = query.order_by(RolloutRow.id.desc()).limit(1)
    return session.scalars(query.with_for_update() if lock else query).first()


def _add(session: Session, rollout: Rollout) -> RolloutRow:
    """Add a rollout; what devices showed in those before it on its channel is not kept."""
    before = select(RolloutRow.id).where(
        RolloutRow.inspection == rollout.inspection, RolloutRow.channel == rollout.channel
    )
    session.execute(delete(RolloutDeviceRow).where(RolloutDeviceRow.rollout.in_(before)))
    row = RolloutRow(inspection=rollout.inspection, channel=rollout.channel)
    _write(row, rollout)
    session.add(row)
    session.flush()
    return row


def _write(row: RolloutRow, rollout: Rollout) -> None:
    row.version, row.state, row.stage = rollout.version, rollout.state.value, rollout.stage
    row.started_at, row.stage_at, row.ready_at = rollout.started_at, rollout.stage_at, rollout.ready_at
    row.reason, row.revision, row.signed_revision = rollout.reason, rollout.revision, rollout.signed_revision
    row.plan = {
        "engines": [asdict(engine) for engine in rollout.engines],
        "base_version": rollout.base_version,
        "base": [asdict(engine) for engine in rollout.base],
        "salt": rollout.salt,
        "stages": [asdict(stage) for stage in rollout.stages],
    }
    row.evidence = dict(rollout.evidence)
    row.events = [{**asdict(event), "at": event.at.isoformat()} for event in rollout.events]


def _rollout(row: RolloutRow) -> Rollout:
    plan = row.plan
    return Rollout(
        id=row.id,
        inspection=row.inspection,
        channel=row.channel,
        version=row.version,
        engines=tuple(NamedEngine(**engine) for engine in plan["engines"]),
        base_version=plan["base_version"],
        base=tuple(NamedEngine(**engine) for engine in plan["base"]),
        salt=plan["salt"],
        stages=tuple(_stage(stage) for stage in plan["stages"]),
        stage=row.stage,
        state=State(row.state),
        reason=row.reason,
        started_at=row.started_at,
        stage_at=row.stage_at,
        ready_at=row.ready_at,
        revision=row.revision,
        signed_revision=row.signed_revision,
        evidence=row.evidence,
        events=tuple(Event(**{**event, "at": datetime.fromisoformat(event["at"])}) for event in row.events),
    )


def _stage(value: Mapping[str, Any]) -> Stage:
    lists = {name: tuple(names) for name, names in value["cohort"].items() if name != "percent"}
    return Stage(**{**value, "cohort": Cohort(percent=value["cohort"]["percent"], **lists)})
