"""Labels that should be looked at again: what training doubts, kept for the labelling page.

1. A suggestion says nothing by itself: it changes no label, enters no estimate and no training set.
2. It doubts one label event. Any later answer on the sample ends it: the same again, another, cannot-tell, an undo.
3. A label that was given twice is not doubted again: two looks outweigh a model.
4. The newest retrain's suggestions replace those of the retrain before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import Session, aliased

from data.catalog import Catalog
from data.catalog.models import LabelEventRow, LabelReviewRow, SampleRow
from data.current_labels import LabelKind, derive, standing_events


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
        session.execute(delete(LabelReviewRow).where(LabelReviewRow.inspection == inspection))
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


def open_reviews(catalog: Catalog, inspection: str) -> int:
    """How many labels wait to be looked at again."""
    with catalog.reading() as session:
        query = select(func.count()).select_from(LabelReviewRow)
        query = query.join(SampleRow, SampleRow.sample_id == LabelReviewRow.sample_id)
        return session.scalar(query.where(LabelReviewRow.inspection == inspection, still_doubted())) or 0


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
        (row, f"it is labelled {review.given}; models that did not learn from it say {review.suggested}")
        for row, review in session.execute(query)
    ]


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
