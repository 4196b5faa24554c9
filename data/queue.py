"""The queue: what people are shown next, and to whom.

1. People see flagged samples first (somebody pulled the cord), then draws, oldest first and by priority:
   a draw labelled half-way is still a priority sample.
2. A sample shown to one person is leased: nobody else is shown it until the lease ends (:mod:`data.leases`).
3. A label or a cannot-tell takes a sample out of the queue; a skip takes it out of that person's queue.
4. With ``second_labeller``, holdout samples that one other person settled are asked for once more.
5. Near-duplicates that were drawn together are shown as one: the one that speaks for them, with the others in ``like``.
   Once it is settled and the others are not (the person said: this one only), they are shown each for itself.
6. Labels that training doubts (:mod:`data.label_reviews`) are shown again, at most ``review_share`` of what is shown.

What is in the queue is decided by the second sampling stage, :mod:`data.draws`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, exists, func, or_, select, union
from sqlalchemy.orm import Session, aliased

from data.catalog import Catalog
from data.catalog.models import DrawItemRow, DrawRow, EventRow, LabelEventRow, LeaseRow, SampleRow
from data.draws import Draw, DrawItem, Uniform, budget_left, draw, draw_extra, draw_items, not_offered
from data.inspections import inspection_in
from data.label_reviews import reviews_in
from data.labels import LabelKind
from data.leases import lease, one_at_a_time
from data.open_items import maybe_open, note_settled
from data.policy import LabellingPolicy
from data.sample_conditions import SETTLED, drawn, flagged, kept, of_inspection, said, settled, spoken_for
from data.split import Split

__all__ = [
    "Draw",
    "DrawItem",
    "QueueItem",
    "QueueSize",
    "Uniform",
    "budget_left",
    "draw",
    "draw_extra",
    "draw_items",
    "item_of",
    "next_to_label",
    "queue_size",
    "top_up",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueItem:
    """A sample to be shown, with the model's opinion.

    Attributes:
        why: ``flag``, ``drawn``, ``extra``, ``second`` (a second opinion on a holdout sample) or ``review`` (training
            doubts its label).
        reason: The operator's words, for a flag; what is doubted, for a review.
        chosen: What made its score in the draw, ``{"signals": …, "parts": …}``; empty if no plan made it.
        like: Near-duplicates that its label can serve, too.
        leased_until: Until when nobody else is shown it.
        seen: Serial number of the newest label event on it; 0: none.
    """

    sample_id: str
    inspection: str
    why: str
    reason: str
    media_type: str
    lake_path: str
    lake_row: int
    captured_at: datetime
    device: str | None
    station: str | None
    part_id: str | None
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    anomaly: float | None
    verdict: str | None
    reasons: Mapping[str, Any]
    context: Mapping[str, Any]
    leased_until: datetime
    chosen: Mapping[str, Any]
    like: tuple[str, ...]
    seen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSize:
    """How much waits: drawn or flagged and not settled, and what no draw was offered yet."""

    waiting: int
    not_offered: int


def top_up(
    catalog: Catalog,
    inspection: str,
    policy: LabellingPolicy,
    *,
    random: Uniform,
    at: datetime,
    ask: Callable[[int], Draw] | None = None,
) -> Draw | None:
    """Draw as policy says if fewer than half a draw waits and there is something new; else None.

    Args:
        catalog: The catalog.
        inspection: Its name.
        policy: How many.
        random: Source of u.
        at: Now.
        ask: Draws, and perhaps chooses, so many labels, and returns the draw (:meth:`data.draw_plan.Planner.ask`);
            default: by what the device wanted.
    """
    size = queue_size(catalog, inspection)
    if size.not_offered == 0 or size.waiting * 2 > policy.draw_size:
        return None
    n = min(policy.draw_size, budget_left(catalog, inspection, policy.budget_share))
    if n <= 0:
        return None
    return draw(catalog, inspection, n, random=random, at=at) if ask is None else ask(n)


def queue_size(catalog: Catalog, inspection: str) -> QueueSize:
    """How much waits for people, and how much for a draw."""
    with catalog.reading() as session:
        waiting = select(func.count()).select_from(
            select(SampleRow.sample_id)
            .where(of_inspection(inspection), SampleRow.sample_id.in_(_asked(inspection)))
            .where(~settled(), or_(flagged(), and_(drawn(), ~spoken_for())))
            .subquery()
        )
        unseen = select(func.count()).select_from(not_offered(inspection).subquery())
        return QueueSize(waiting=session.scalar(waiting) or 0, not_offered=session.scalar(unseen) or 0)


def next_to_label(
    catalog: Catalog,
    inspection: str,
    who: str,
    limit: int = 10,
    *,
    at: datetime,
    lease_seconds: float = 120.0,
    second_labeller: bool = False,
    review_share: float = 0.0,
) -> list[QueueItem]:
    """The next samples for a person, leased to that person (rules 1–3).

    Args:
        catalog: The catalog.
        inspection: Its name.
        who: The person; samples leased to the same person are given again.
        limit: How many.
        at: Now.
        lease_seconds: How long others are not shown them.
        second_labeller: Also ask for a second opinion on holdout samples that one other person labelled.
        review_share: Of these, at most, labels to look at again.

    Raises:
        InspectionError: unknown inspection.
    """
    if limit < 1:
        return []
    with catalog.session() as session:
        inspection_in(session, inspection)
        one_at_a_time(session, inspection)
        note_settled(session, inspection)
        again = _reviews(session, inspection, who, round(limit * review_share), at)
        picked = pick(session, inspection, who, limit - len(again), at)
        if second_labeller and len(picked) + len(again) < limit:
            picked += _second(session, inspection, who, limit - len(picked) - len(again), at)
        known = {row.sample_id for row, _ in picked}
        told = {row.sample_id: reason for row, reason in again if row.sample_id not in known}
        picked += [(row, "review") for row, _ in again if row.sample_id in told]
        until = at + timedelta(seconds=lease_seconds)
        ids = [row.sample_id for row, _why in picked]
        lease(session, ids, who, until)
        told |= _flag_reasons(session, [sample_id for sample_id in ids if sample_id not in told])
        return items_of(session, picked, told, until)


def items_of(
    session: Session, picked: Sequence[tuple[SampleRow, str]], told: Mapping[str, str], until: datetime
) -> list[QueueItem]:
    """Samples, each with why it is asked for, as the page shows them; ``told`` has the reasons in words."""
    ids = [row.sample_id for row, _why in picked]
    drawn_as, seen = _drawn_as(session, ids), _newest_serials(session, ids)
    return [
        item_of(
            row,
            why,
            told.get(row.sample_id, ""),
            until,
            *drawn_as.get(row.sample_id, ({}, ())),
            seen=seen.get(row.sample_id, 0),
        )
        for row, why in picked
    ]


def pick(session: Session, inspection: str, who: str, limit: int, at: datetime) -> list[tuple[SampleRow, str]]:
    """What is free for a person, in the order of rule 1, each with why it is asked for."""
    free = and_(of_inspection(inspection), ~settled(), ~_skipped_by(who), ~_leased_to_others(who, at))
    pulled = session.scalars(
        select(SampleRow)
        .where(free, kept(), SampleRow.sample_id.in_(union(*_pulls(inspection))))
        .order_by(SampleRow.captured_at, SampleRow.sample_id)
        .limit(limit)
    )
    picked = [(row, "flag") for row in pulled]
    if len(picked) == limit:
        return picked
    items = maybe_open(inspection)
    rest = session.execute(
        select(SampleRow, DrawItemRow.extra)
        .select_from(items)
        .join(DrawItemRow, and_(DrawItemRow.draw_id == items.c.draw_id, DrawItemRow.sample_id == items.c.sample_id))
        .join(DrawRow, DrawRow.id == DrawItemRow.draw_id)
        .join(SampleRow, SampleRow.sample_id == DrawItemRow.sample_id)
        .where(free, ~flagged(), ~spoken_for())
        .order_by(DrawRow.at, DrawRow.id, DrawItemRow.rank)
        .limit(limit - len(picked))
    )
    return picked + [(row, "extra" if extra else "drawn") for row, extra in rest]


def _pulls(inspection: str) -> tuple[Select[Any], Select[Any]]:
    """Ids of the flagged samples: found by what flagged them, never by looking at all samples."""
    return (
        select(EventRow.sample_id).where(
            EventRow.inspection == inspection, EventRow.kind == "flag", EventRow.sample_id.is_not(None)
        ),
        select(SampleRow.sample_id).where(SampleRow.inspection == inspection, SampleRow.extra == "flag"),
    )


def _asked(inspection: str) -> Any:
    """Ids of all that was ever flagged, and of what was drawn and may be open."""
    return union(*_pulls(inspection), select(maybe_open(inspection).c.sample_id))


def _reviews(session: Session, inspection: str, who: str, limit: int, at: datetime) -> list[tuple[SampleRow, str]]:
    if limit < 1:
        return []
    return reviews_in(session, inspection, ~_skipped_by(who), ~_leased_to_others(who, at), limit=limit)


def _drawn_as(session: Session, sample_ids: Sequence[str]) -> dict[str, tuple[Mapping[str, Any], tuple[str, ...]]]:
    """Sample → what made its score, and the unsettled near-duplicates that it speaks for."""
    query = select(DrawItemRow).where(DrawItemRow.sample_id.in_(sample_ids), DrawItemRow.drawn)
    found: dict[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {}
    for item in session.scalars(query):
        like: tuple[str, ...] = ()
        if item.cluster == item.sample_id:
            others = (
                select(SampleRow.sample_id)
                .join(DrawItemRow, DrawItemRow.sample_id == SampleRow.sample_id)
                .where(DrawItemRow.draw_id == item.draw_id, DrawItemRow.cluster == item.cluster, ~settled())
                .where(SampleRow.sample_id != item.sample_id)
                .order_by(DrawItemRow.rank)
            )
            like = tuple(session.scalars(others))
        found[item.sample_id] = (item.why or {}, like)
    return found


def _second(session: Session, inspection: str, who: str, limit: int, at: datetime) -> list[tuple[SampleRow, str]]:
    event, undo = aliased(LabelEventRow), aliased(LabelEventRow)
    told = select(LabelEventRow.sample_id).where(
        LabelEventRow.inspection == inspection, LabelEventRow.kind.in_(SETTLED)
    )
    people = (
        select(func.count(func.distinct(event.who)))
        .where(event.sample_id == SampleRow.sample_id, event.kind.in_(SETTLED))
        .where(~exists().where(undo.undoes == event.event_id))
        .correlate(SampleRow)
        .scalar_subquery()
    )
    query = (
        select(SampleRow)
        .where(SampleRow.sample_id.in_(told), of_inspection(inspection))
        .where(SampleRow.split == Split.HOLDOUT.value, people == 1, kept())
        .where(~said(who, *SETTLED), ~_skipped_by(who), ~_leased_to_others(who, at))
        .order_by(SampleRow.sample_id)
        .limit(limit)
    )
    return [(row, "second") for row in session.scalars(query)]


def _skipped_by(who: str) -> Any:
    return said(who, LabelKind.SKIP.value)


def _leased_to_others(who: str, at: datetime) -> Any:
    return exists().where(LeaseRow.sample_id == SampleRow.sample_id, LeaseRow.who != who, LeaseRow.until > at)


def _newest_serials(session: Session, sample_ids: Sequence[str]) -> dict[str, int]:
    query = select(LabelEventRow.sample_id, func.max(LabelEventRow.serial))
    found = session.execute(query.where(LabelEventRow.sample_id.in_(sample_ids)).group_by(LabelEventRow.sample_id))
    return {row[0]: row[1] for row in found}


def _flag_reasons(session: Session, sample_ids: Sequence[str]) -> dict[str, str]:
    if not sample_ids:
        return {}
    query = select(EventRow).where(EventRow.sample_id.in_(sample_ids), EventRow.kind == "flag").order_by(EventRow.at)
    return {row.sample_id: row.reason or "" for row in session.scalars(query) if row.sample_id}


def item_of(
    row: SampleRow,
    why: str,
    reason: str,
    until: datetime,
    chosen: Mapping[str, Any],
    like: tuple[str, ...],
    *,
    seen: int = 0,
) -> QueueItem:
    """A sample as the page shows it."""
    return QueueItem(
        sample_id=row.sample_id,
        inspection=row.inspection,
        why=why,
        reason=reason,
        media_type=row.media_type,
        lake_path=row.lake_path,
        lake_row=row.lake_row,
        captured_at=row.captured_at,
        device=row.device,
        station=row.station,
        part_id=row.part_id,
        classes=tuple(row.classes),
        probabilities=tuple(row.probabilities),
        anomaly=row.anomaly,
        verdict=row.verdict,
        reasons=row.reasons,
        context=row.context,
        leased_until=until,
        chosen=chosen,
        like=like,
        seen=seen,
    )
