"""The log of what the gate decided and what was released: written by the flows, read by people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import GateDecisionRow, ReleaseRow


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecision:
    """What the gate said about one challenger.

    Attributes:
        version: MLflow version of the challenger.
        run_id: MLflow run; one decision per run.
        answer: ``promote``, ``reject`` or ``not_enough``.
        checks: As JSON, in the gate's own form.
        label_more: Class → how many more labels would be enough.
        comparison: How champion and challenger answered the same frames (`training/comparison.py`); None for a first
            model. Only :func:`comparisons` reads it back: it is large.
    """

    inspection: str
    version: str
    champion_version: str | None
    run_id: str | None
    snapshot_id: str | None
    engine_id: str | None
    at: datetime
    answer: str
    reasons: Sequence[str] = ()
    checks: Sequence[Any] = ()
    label_more: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    comparison: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseEntry:
    """One thing done to a channel: ``release``, ``rollback``, ``halt``, ``confirm``."""

    inspection: str
    channel: str
    action: str
    who: str
    at: datetime
    version: str | None = None
    engine_id: str | None = None
    engine_sha256: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def record_decision(catalog: Catalog, decision: GateDecision) -> GateDecision:
    """Log a decision; the same run again replaces nothing and returns what was logged first."""
    with catalog.session() as session:
        if decision.run_id is not None:
            query = select(GateDecisionRow).where(GateDecisionRow.run_id == decision.run_id)
            found = session.scalars(query).first()
            if found is not None:
                return _decision(found)
        row = GateDecisionRow(
            inspection=decision.inspection,
            version=decision.version,
            champion_version=decision.champion_version,
            run_id=decision.run_id,
            snapshot_id=decision.snapshot_id,
            engine_id=decision.engine_id,
            at=decision.at,
            answer=decision.answer,
            reasons=list(decision.reasons),
            checks=list(decision.checks),
            label_more=dict(decision.label_more),
            metrics=dict(decision.metrics),
            comparison=None if decision.comparison is None else dict(decision.comparison),
        )
        session.add(row)
        session.flush()
        return _decision(row)


def list_decisions(catalog: Catalog, inspection: str, *, limit: int = 100) -> list[GateDecision]:
    """Decisions of an inspection, newest first."""
    with catalog.reading() as session:
        return decisions_in(session, inspection, limit)


def decisions_in(session: Session, inspection: str, limit: int) -> list[GateDecision]:
    """As :func:`list_decisions`, inside a transaction."""
    query = select(GateDecisionRow).where(GateDecisionRow.inspection == inspection)
    return [_decision(row) for row in session.scalars(query.order_by(GateDecisionRow.id.desc()).limit(limit))]


def comparisons(catalog: Catalog, inspection: str, versions: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """How some versions and the champions they were judged against answered the same frames, by version.

    Versions that had no champion, or were judged before this was kept, are left out.
    """
    query = select(GateDecisionRow.version, GateDecisionRow.comparison).where(
        GateDecisionRow.inspection == inspection, GateDecisionRow.version.in_(versions)
    )
    with catalog.reading() as session:
        return {version: found for version, found in session.execute(query.order_by(GateDecisionRow.id)) if found}


def record_release(catalog: Catalog, entry: ReleaseEntry) -> bool:
    """Log a release; what already is the newest entry of its channel is not logged again.

    Returns:
        Whether it was logged.
    """
    with catalog.session() as session:
        query = (
            select(ReleaseRow)
            .where(ReleaseRow.inspection == entry.inspection, ReleaseRow.channel == entry.channel)
            .order_by(ReleaseRow.id.desc())
        )
        newest = session.scalars(query.limit(1)).first()
        if newest is not None and (newest.action, newest.version, newest.engine_sha256) == (
            entry.action,
            entry.version,
            entry.engine_sha256,
        ):
            return False
        session.add(
            ReleaseRow(
                inspection=entry.inspection,
                channel=entry.channel,
                version=entry.version,
                engine_id=entry.engine_id,
                engine_sha256=entry.engine_sha256,
                action=entry.action,
                who=entry.who,
                at=entry.at,
                detail=dict(entry.detail),
            )
        )
        return True


def list_releases(catalog: Catalog, inspection: str, *, limit: int = 100) -> list[ReleaseEntry]:
    """The release log of an inspection, newest first."""
    with catalog.reading() as session:
        return releases_in(session, inspection, limit)


def releases_in(session: Session, inspection: str, limit: int) -> list[ReleaseEntry]:
    """As :func:`list_releases`, inside a transaction."""
    query = select(ReleaseRow).where(ReleaseRow.inspection == inspection)
    return [
        ReleaseEntry(
            inspection=row.inspection,
            channel=row.channel,
            action=row.action,
            who=row.who,
            at=row.at,
            version=row.version,
            engine_id=row.engine_id,
            engine_sha256=row.engine_sha256,
            detail=row.detail,
        )
        for row in session.scalars(query.order_by(ReleaseRow.id.desc()).limit(limit))
    ]


def _decision(row: GateDecisionRow) -> GateDecision:
    return GateDecision(
        inspection=row.inspection,
        version=row.version,
        champion_version=row.champion_version,
        run_id=row.run_id,
        snapshot_id=row.snapshot_id,
        engine_id=row.engine_id,
        at=row.at,
        answer=row.answer,
        reasons=tuple(row.reasons),
        checks=tuple(row.checks),
        label_more=row.label_more,
        metrics=row.metrics,
    )
