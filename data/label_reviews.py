"""Labels that should be looked at again: what training doubts or an outcome contradicts, for the labelling page.

1. A suggestion says nothing by itself: it changes no label, enters no estimate and no training set.
2. It doubts one label event. Any later answer on the sample ends it: the same again, another, cannot-tell, an undo.
3. A label that was given twice is not doubted again: two looks outweigh a model.
4. The newest retrain's suggestions replace those of the retrain before.
5. An outcome that came after the label and says the opposite (:mod:`data.outcomes`) is a suggestion too, and comes
   first: the part itself has spoken. Whoever answers then has seen it, and it is not suggested again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, exists, func, select
from sqlalchemy.orm import Session, aliased

from data.catalog import Catalog
from data.catalog.models import LabelEventRow, LabelReviewRow, SampleRow
from data.current_labels import LabelKind, current_labels_in, derive, standing_events
from data.inspections import inspection_in
from data.outcomes import contradictions, outcomes_in
from data.policy import OutcomePolicy

#: Stands for the snapshot of a suggestion that no retrain made (rule 5).
BY_OUTCOME = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A label that out-of-fold predictions speak against.

    Attributes:
        confidence: Out-of-fold probability of the given class.
    """

    sample_id: str
    given: str
    suggested: str
    confidence: float


def record_doubts(
    catalog: Catalog, inspection: str, doubts: Iterable[Doubt], *, snapshot_id: str, at: datetime
) -> list[Doubt]:
    """Replace an inspection's suggestions (rules 2 to 4); returns those that were kept.

    A doubt about a label that is not the current one any more is dropped.
    """
    wanted = {doubt.sample_id: doubt for doubt in doubts}
    with catalog.session() as session:
        by_training = and_(LabelReviewRow.inspection == inspection, LabelReviewRow.snapshot_id != BY_OUTCOME)
        session.execute(delete(LabelReviewRow).where(by_training))
        contradicted = set(session.scalars(select(LabelReviewRow.sample_id)))
        events = standing_events(session, wanted)
        labels = derive(events)
        looks: dict[str, int] = {}
        for event in events:
            if event.kind is LabelKind.LABEL and event.sample_id in labels:
                looks[event.sample_id] = looks.get(event.sample_id, 0) + (
                    event.classes == labels[event.sample_id].classes
                )
        kept = []
        for sample_id, doubt in wanted.items():
            label = labels.get(sample_id)
            if label is None or label.classes != (doubt.given,) or looks.get(sample_id, 0) > 1:
                continue
            if sample_id in contradicted:
                continue
            kept.append(doubt)
            session.add(
                LabelReviewRow(
                    sample_id=sample_id,
                    inspection=inspection,
                    label_serial=label.serial,
                    given=doubt.given,
                    suggested=doubt.suggested,
                    confidence=doubt.confidence,
                    snapshot_id=snapshot_id,
                    at=at,
                )
            )
        return kept


def record_contradictions(catalog: Catalog, inspection: str, policy: OutcomePolicy, *, at: datetime) -> int:
    """Suggest the labels that an outcome contradicts (rule 5), instead of those suggested before. Returns how many.

    Raises:
        InspectionError: unknown inspection.
    """
    with catalog.session() as session:
        info = inspection_in(session, inspection)
        answered = exists().where(LabelEventRow.sample_id == SampleRow.sample_id)
        outcomes = outcomes_in(session, info, policy, answered)
        labels = current_labels_in(session, list(outcomes.by_sample))
        told: dict[str, list[str]] = {}
        for found in contradictions(info, outcomes, labels):
            label = labels.get(found.sample_id)
            if label is not None and found.known_at > label.at:
                told.setdefault(found.sample_id, []).append(f"{found.stage or 'an outcome'} says {found.value}")
        by_outcome = and_(LabelReviewRow.inspection == inspection, LabelReviewRow.snapshot_id == BY_OUTCOME)
        session.execute(delete(LabelReviewRow).where(by_outcome))
        for sample_id, said in told.items():
            session.merge(
                LabelReviewRow(
                    sample_id=sample_id,
                    inspection=inspection,
                    label_serial=labels[sample_id].serial,
                    given="+".join(labels[sample_id].classes)[:128],
                    suggested=", ".join(said)[:128],
                    confidence=-1.0,  # before all that training doubts
                    snapshot_id=BY_OUTCOME,
                    at=at,
                )
            )
        return len(told)


def open_reviews(catalog: Catalog, inspection: str) -> int:
    """How many labels wait to be looked at again."""
    with catalog.reading() as session:
        query = select(func.count()).select_from(LabelReviewRow)
        query = query.join(SampleRow, SampleRow.sample_id == LabelReviewRow.sample_id)
        return session.scalar(query.where(LabelReviewRow.inspection == inspection, still_doubted())) or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A label that is doubted, with what speaks against it.

    Attributes:
        confidence: Out-of-fold probability of the given class; None where an outcome contradicts it.
    """

    sample_id: str
    given: str
    suggested: str
    confidence: float | None
    at: datetime


def suspects(
    catalog: Catalog, inspection: str, *, by_outcome: bool, limit: int = 50, offset: int = 0
) -> tuple[list[Suspect], int]:
    """Labels that training doubts, or that an outcome contradicts: the weakest first, and how many there are."""
    query = (
        select(LabelReviewRow)
        .join(SampleRow, SampleRow.sample_id == LabelReviewRow.sample_id)
        .where(LabelReviewRow.inspection == inspection, still_doubted())
        .where((LabelReviewRow.snapshot_id == BY_OUTCOME) if by_outcome else (LabelReviewRow.snapshot_id != BY_OUTCOME))
    )
    with catalog.reading() as session:
        count = session.scalar(select(func.count()).select_from(query.subquery())) or 0
        rows = session.scalars(
            query.order_by(LabelReviewRow.confidence, LabelReviewRow.sample_id).offset(offset).limit(limit)
        )
        found = [
            Suspect(
                sample_id=row.sample_id,
                given=row.given,
                suggested=row.suggested,
                confidence=None if by_outcome else row.confidence,
                at=row.at,
            )
            for row in rows
        ]
    return found, count


def reviews_in(session: Session, inspection: str, *conditions: Any, limit: int) -> list[tuple[SampleRow, str]]:
    """Samples to look at again, the weakest label first, each with what to tell."""
    query = (
        select(SampleRow, LabelReviewRow)
        .join(LabelReviewRow, LabelReviewRow.sample_id == SampleRow.sample_id)
        .where(LabelReviewRow.inspection == inspection, still_doubted(), *conditions)
        .order_by(LabelReviewRow.confidence, SampleRow.sample_id)
        .limit(limit)
    )
    return [
        (row, f"it is labelled {review.given}; {_who(review)} {review.suggested}")
        for row, review in session.execute(query)
    ]


def _who(review: LabelReviewRow) -> str:
    return "of the part" if review.snapshot_id == BY_OUTCOME else "models that did not learn from it say"


def still_doubted() -> Any:
    """Nobody answered since, and the doubted label was not undone (rule 2)."""
    later, undo, doubted, gone = (aliased(LabelEventRow) for _ in range(4))
    answered = exists().where(
        later.sample_id == LabelReviewRow.sample_id,
        later.serial > LabelReviewRow.label_serial,
        later.kind.in_((LabelKind.LABEL.value, LabelKind.CANNOT_TELL.value)),
        ~exists().where(undo.undoes == later.event_id),
    )
    undone = exists().where(doubted.serial == LabelReviewRow.label_serial, gone.undoes == doubted.event_id)
    return ~answered & ~undone
