"""Leases: a sample on one person's page is kept from everybody else's.

1. A lease ends by itself. The page prolongs the leases of what it shows; a page that is closed or cut off does not.
2. To prolong tells what is lost: what somebody else was given after the lease had ended, or has settled meanwhile.
3. Who answers ends the lease; who leaves gives back what was not answered.
4. Everybody sees who else labels the same inspection now, and how many samples they hold.

An answer that comes although the lease had ended is judged by :mod:`data.labels`, rule 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import InspectionRow, LabelEventRow, LeaseRow, SampleRow
from data.current_labels import LabelKind, event_of, standing
from data.sample_conditions import of_inspection


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A sample that is another person's now.

    Attributes:
        who: That person.
        settled: Whether they answered it; else they are looking at it.
    """

    who: str
    settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a person holds after prolonging: everything that was named but ``lost``."""

    until: datetime
    lost: Mapping[str, Lost]


def lease(session: Session, sample_ids: Iterable[str], who: str, until: datetime) -> None:
    """Lease samples to a person, whoever had them."""
    for sample_id in sample_ids:
        session.merge(LeaseRow(sample_id=sample_id, who=who, until=until))


def one_at_a_time(session: Session, inspection: str) -> None:
    """Let nobody else choose samples of the inspection before this transaction ends."""
    session.get(InspectionRow, inspection, with_for_update=True)  # SQLite has one writer anyway


def prolong(
    catalog: Catalog, inspection: str, who: str, shown: Mapping[str, int], *, at: datetime, lease_seconds: float
) -> Held:
    """Prolong a person's leases (rules 1 and 2).

    Args:
        catalog: The catalog.
        inspection: Its name.
        who: The person.
        shown: Sample id → serial number of the newest event on it when it was shown.
        at: Now.
        lease_seconds: How long from now.
    """
    until = at + timedelta(seconds=lease_seconds)
    with catalog.session() as session:
        one_at_a_time(session, inspection)
        lost: dict[str, Lost] = {}
        newer = standing().where(
            LabelEventRow.sample_id.in_(shown),
            LabelEventRow.who != who,
            LabelEventRow.kind.in_((LabelKind.LABEL.value, LabelKind.CANNOT_TELL.value)),
        )
        for event in map(event_of, session.scalars(newer.order_by(LabelEventRow.serial))):
            if event.serial > shown[event.sample_id]:
                lost[event.sample_id] = Lost(who=event.who, settled=True)
        taken = select(LeaseRow).where(LeaseRow.sample_id.in_(shown), LeaseRow.who != who, LeaseRow.until > at)
        for other in session.scalars(taken):
            lost.setdefault(other.sample_id, Lost(who=other.who, settled=False))
        ours = select(SampleRow.sample_id).where(SampleRow.inspection == inspection, SampleRow.sample_id.in_(shown))
        lease(session, [sample_id for sample_id in session.scalars(ours) if sample_id not in lost], who, until)
    return Held(until=until, lost=lost)


def release_leases(catalog: Catalog, who: str, sample_ids: Iterable[str] | None = None) -> None:
    """Give back what is leased to a person who leaves the page: these samples, or all."""
    query = select(LeaseRow).where(LeaseRow.who == who)
    if sample_ids is not None:
        query = query.where(LeaseRow.sample_id.in_(list(sample_ids)))
    with catalog.session() as session:
        for held in session.scalars(query):
            session.delete(held)


def also_here(catalog: Catalog, inspection: str, who: str, *, at: datetime) -> dict[str, int]:
    """Person → samples they hold now, of everybody else who labels this inspection (rule 4)."""
    with catalog.reading() as session:
        query = (
            select(LeaseRow.who, func.count())
            .join(SampleRow, SampleRow.sample_id == LeaseRow.sample_id)
            .where(of_inspection(inspection), LeaseRow.until > at, LeaseRow.who != who)
            .group_by(LeaseRow.who)
            .order_by(LeaseRow.who)
        )
        return {row[0]: row[1] for row in session.execute(query)}
