"""Where people differ: samples of which two people's labels stand and are not the same.

1. A disagreement is open until somebody decides it on the review page: until the newest label comes from there
   (``source`` is `REVIEW`). Another opinion after that opens it again.
2. Agreement (:func:`data.agreement.agreement_of`) counts every sample that two people labelled, decided or not: a
   decision does not make the two agree. What was decided on the review page is no blind opinion and is left out of it.
3. Label events are only ever added, but for the names that an erasure takes out of them: as long as there are as many
   of both, nobody has said anything new (`KeptConcord`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from data.agreement import Agreement, agreement_of
from data.catalog import Catalog
from data.catalog.models import ErasureRow, LabelEventRow
from data.current_labels import LabelEvent, LabelKind, derive, standing_events
from data.kept import KeptWhileSame

REVIEW = "review"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one person says of a sample; no classes: that nobody can tell."""

    who: str
    classes: tuple[str, ...]
    at: datetime

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"who": self.who, "classes": list(self.classes), "at": self.at.isoformat()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A sample with its opinions, in the order in which they were given."""

    sample_id: str
    opinions: tuple[Opinion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Concord:
    """How far people agree, and where they do not (rules 1 and 2); the newest disagreement first."""

    agreement: Agreement
    open: tuple[Disagreement, ...]
    decided: int


def concord(catalog: Catalog, inspection: str) -> Concord:
    """Look at every sample that two people answered."""
    with catalog.reading() as session:
        events = standing_events(session, _answered_twice(session, inspection))
    return concord_of(events)


class KeptConcord:
    """The concord of each inspection, read anew when there is something new (rule 3). Safe to share between threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: KeptWhileSame[Concord] = KeptWhileSame()

    def of(self, inspection: str) -> Concord:
        """As :func:`concord`."""
        with self._catalog.reading() as session:
            events = select(func.count(), func.max(LabelEventRow.serial)).where(LabelEventRow.inspection == inspection)
            erasures = select(func.count(), func.count(ErasureRow.done_at))
            there = (*session.execute(events).one(), *session.execute(erasures).one())
        return self._kept.get(inspection, there, lambda: concord(self._catalog, inspection))


def concord_of(events: Iterable[LabelEvent]) -> Concord:
    """The rules, on events that stand, in recording order."""
    of: dict[str, list[LabelEvent]] = {}
    for event in events:
        if event.kind is not LabelKind.SKIP:
            of.setdefault(event.sample_id, []).append(event)
    blind = derive(event for said in of.values() for event in said if event.source != REVIEW)
    found: list[tuple[int, Disagreement]] = []
    decided = 0
    for sample_id, said in of.items():
        newest = {event.who: event for event in said}
        standing = [event for event in newest.values() if event.kind is LabelKind.LABEL]
        if len({event.classes for event in standing}) < 2:
            continue
        last = max(newest.values(), key=lambda event: event.serial)
        if last.source == REVIEW:
            decided += 1
            continue
        opinions = tuple(
            Opinion(who=event.who, classes=event.classes, at=event.at)
            for event in sorted(newest.values(), key=lambda event: event.serial)
        )
        found.append((last.serial, Disagreement(sample_id=sample_id, opinions=opinions)))
    found.sort(key=lambda one: -one[0])
    return Concord(agreement=agreement_of(blind), open=tuple(one for _, one in found), decided=decided)


def _answered_twice(session: Session, inspection: str) -> list[str]:
    query = (
        select(LabelEventRow.sample_id)
        .where(
            LabelEventRow.inspection == inspection,
            LabelEventRow.kind.in_((LabelKind.LABEL.value, LabelKind.CANNOT_TELL.value)),
        )
        .group_by(LabelEventRow.sample_id)
        .having(func.count(func.distinct(LabelEventRow.who)) > 1)
    )
    return list(session.scalars(query))
