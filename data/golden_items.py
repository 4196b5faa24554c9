"""Golden items: samples with a known answer, mixed in among the others, to know how sure people's labels are.

1. The answer is known if two people agree on a sample and nobody differs, or else if an import brought it.
2. A person is asked each at most once, and never one that is their own answer. It looks like any other sample, but that
   an imported one shows no opinion of the model; so captured ones are taken first.
3. What is answered is no label event: it changes no label and no estimate. An undo takes it back and asks again.
4. One is due for each 1/share answers that a person gave; the first comes after that many. So a person who labels a
   handful is never tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, aliased

from data.catalog import Catalog
from data.catalog.models import GoldenAskRow, LabelEventRow, SampleRow
from data.current_labels import derive, standing_events
from data.draws import Uniform
from data.labels import LabelError
from data.sample_conditions import SETTLED, kept, of_inspection, said

_LOOKED_AT = 200  # samples that may be golden, from a random place on: enough to find one


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenAnswer:
    """What a person said of a golden item. Those that were passed on, or that nobody could tell, are not here."""

    sample_id: str
    who: str
    truth: tuple[str, ...]
    said: tuple[str, ...]
    at: datetime

    @property
    def right(self) -> bool:
        """Whether it is the known answer."""
        return self.said == self.truth


def golden_due(
    catalog: Catalog, inspection: str, who: str, *, share: float, random: Uniform, at: datetime
) -> SampleRow | None:
    """The golden item to mix in for a person now, or None (rules 1, 2 and 4). One that waits for an answer stays.

    Args:
        catalog: The catalog.
        inspection: Its name.
        who: The person.
        share: Of what that person sees.
        random: Chooses the item.
        at: Now.
    """
    if share <= 0:
        return None
    with catalog.session() as session:
        asked = list(
            session.scalars(select(GoldenAskRow).where(GoldenAskRow.inspection == inspection, GoldenAskRow.who == who))
        )
        for ask in asked:
            if ask.event_id is None:
                return session.get(SampleRow, ask.sample_id)
        given = session.scalar(
            select(func.count()).where(
                LabelEventRow.inspection == inspection,
                LabelEventRow.who == who,
                LabelEventRow.kind.in_(SETTLED),
                LabelEventRow.because.is_(None),
                LabelEventRow.source == "console",
            )
        )
        if int((given or 0) * share) <= len(asked):
            return None
        found = _known(session, inspection, who, random)
        if found is None:
            return None
        row, truth = found
        session.add(
            GoldenAskRow(inspection=inspection, sample_id=row.sample_id, who=who, truth=list(truth), asked_at=at)
        )
        return row


def answer_golden(
    catalog: Catalog, *, sample_id: str, who: str, event_id: str, classes: Sequence[str], at: datetime
) -> bool:
    """Take an answer, if the sample is a golden item that waits for one of this person; else False.

    ``classes`` is empty for a skip and for a cannot-tell. The same event id again changes nothing.

    Raises:
        LabelError: That event id said something else before.
    """
    with catalog.session() as session:
        ask = session.scalars(
            select(GoldenAskRow).where(GoldenAskRow.sample_id == sample_id, GoldenAskRow.who == who)
        ).first()
        if ask is None or ask.event_id not in (None, event_id):
            return False
        wanted = sorted(set(classes))
        if ask.event_id == event_id and ask.classes != wanted:
            raise LabelError(f"label event {event_id!r} was recorded before with other content; use a new event id")
        ask.event_id, ask.classes, ask.answered_at = event_id, wanted, at
        return True


def undo_golden(catalog: Catalog, *, target: str, who: str) -> str | None:
    """Take back a person's answer by its event id; its sample id, or None if it is no golden item's."""
    with catalog.session() as session:
        ask = session.scalars(
            select(GoldenAskRow).where(GoldenAskRow.event_id == target, GoldenAskRow.who == who)
        ).first()
        if ask is None:
            return None
        ask.event_id = ask.classes = ask.answered_at = None
        return ask.sample_id


def golden_answers(catalog: Catalog, inspection: str) -> list[GoldenAnswer]:
    """What people said of golden items, oldest first."""
    with catalog.reading() as session:
        query = (
            select(GoldenAskRow)
            .where(GoldenAskRow.inspection == inspection, GoldenAskRow.event_id.is_not(None))
            .order_by(GoldenAskRow.id)
        )
        return [
            GoldenAnswer(
                sample_id=row.sample_id,
                who=row.who,
                truth=tuple(row.truth),
                said=tuple(row.classes),
                at=row.answered_at or row.asked_at,
            )
            for row in session.scalars(query)
            if row.classes
        ]


def _known(session: Session, inspection: str, who: str, random: Uniform) -> tuple[SampleRow, tuple[str, ...]] | None:
    asked = exists().where(GoldenAskRow.sample_id == SampleRow.sample_id, GoldenAskRow.who == who)
    told = select(LabelEventRow.sample_id).where(
        LabelEventRow.inspection == inspection, LabelEventRow.kind.in_(SETTLED)
    )  # few samples are labelled: found by their labels, not by looking at all of them
    answered = select(SampleRow).where(
        SampleRow.sample_id.in_(told), of_inspection(inspection), said(None, *SETTLED), ~said(who, *SETTLED),
        ~asked, kept(),
    )  # fmt: skip
    for origin in ("field", "factory"):
        may = answered.where(SampleRow.origin == origin).order_by(SampleRow.sample_id)
        if origin == "field":
            may = may.where(_two_people())
        count = session.scalar(select(func.count()).select_from(may.subquery())) or 0
        start = min(int(random.random() * count), max(0, count - 1))
        rows = list(session.scalars(may.offset(start).limit(_LOOKED_AT)))
        labels = derive(standing_events(session, [row.sample_id for row in rows]))
        for row in rows:
            label = labels.get(row.sample_id)
            if label is not None and not label.disagreement and (origin == "factory" or len(label.opinions) > 1):
                return row, label.classes
    return None


def _two_people() -> Any:
    event = aliased(LabelEventRow)
    people = (
        select(func.count(func.distinct(event.who)))
        .where(event.sample_id == SampleRow.sample_id, event.kind.in_(SETTLED))
        .correlate(SampleRow)
        .scalar_subquery()
    )
    return people > 1
