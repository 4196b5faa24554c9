"""Who labelled what: sums by person, and the record page by page.

1. Counted are the answers themselves; an answer given for near-duplicates counts once, with how many it served.
2. What was taken back is counted apart.
3. The record is read backwards from a serial number: a page costs the same wherever it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Text, case, cast, func, literal_column, select
from sqlalchemy.orm import aliased

from data.catalog import Catalog
from data.catalog.models import LabelEventRow
from data.current_labels import LabelEvent, LabelKind, event_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What one person answered of an inspection since an instant.

    Attributes:
        said: Label as text → answers that stand.
        served: Near-duplicates that their answers served beside the sample itself.
        undone: Answers that were taken back, by anybody.
    """

    who: str
    said: Mapping[str, int]
    cannot_tell: int
    skipped: int
    served: int
    undone: int
    first: datetime
    last: datetime

    @property
    def labels(self) -> int:
        """Labels that stand."""
        return sum(self.said.values())

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "who": self.who,
            "labels": self.labels,
            "said": dict(self.said),
            "cannot_tell": self.cannot_tell,
            "skipped": self.skipped,
            "served": self.served,
            "undone": self.undone,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event, and who took it back."""

    event: LabelEvent
    undone_by: str | None
    undone_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        event = self.event
        return {
            "serial": event.serial,
            "event_id": event.event_id,
            "sample_id": event.sample_id,
            "kind": event.kind.value,
            "classes": list(event.classes),
            "who": event.who,
            "at": event.at.isoformat(),
            "source": event.source,
            "because": event.because,
            "undone_by": self.undone_by,
            "undone_at": self.undone_at.isoformat() if self.undone_at else None,
        }


def people(catalog: Catalog, inspection: str, *, since: datetime) -> list[Person]:
    """Everybody who answered since an instant, the busiest first (rules 1 and 2)."""
    undo = aliased(LabelEventRow)
    # Literals, no parameters: PostgreSQL takes two parameters of one value for two expressions.
    state = case(
        (undo.serial.is_not(None), literal_column("'undone'")),
        (LabelEventRow.because.is_not(None), literal_column("'served'")),
        else_=LabelEventRow.kind,
    )
    text = cast(LabelEventRow.classes, Text)
    query = (
        select(
            LabelEventRow.who,
            state,
            text,
            func.count(),
            func.min(LabelEventRow.at, type_=LabelEventRow.at.type),
            func.max(LabelEventRow.at, type_=LabelEventRow.at.type),
        )
        .outerjoin(undo, undo.undoes == LabelEventRow.event_id)
        .where(
            LabelEventRow.inspection == inspection,
            LabelEventRow.at >= since,
            LabelEventRow.kind != LabelKind.UNDO.value,
        )
        .group_by(LabelEventRow.who, state, text)
    )
    with catalog.reading() as session:
        rows = list(session.execute(query))
    found: dict[str, Person] = {}
    for name in {row[0] for row in rows}:
        mine = [row for row in rows if row[0] == name]
        counts: dict[str, int] = {}
        said: dict[str, int] = {}
        for _, kind, classes, count, _, _ in mine:
            counts[kind] = counts.get(kind, 0) + count
            if kind == LabelKind.LABEL.value:
                label = "+".join(json.loads(classes))
                said[label] = said.get(label, 0) + count
        found[name] = Person(
            who=name,
            said=dict(sorted(said.items(), key=lambda pair: (-pair[1], pair[0]))),
            cannot_tell=counts.get(LabelKind.CANNOT_TELL.value, 0),
            skipped=counts.get(LabelKind.SKIP.value, 0),
            served=counts.get("served", 0),
            undone=counts.get("undone", 0),
            first=min(row[4] for row in mine),
            last=max(row[5] for row in mine),
        )
    return sorted(found.values(), key=lambda person: (-person.labels, person.who))


def record_page(
    catalog: Catalog, inspection: str, *, who: str | None = None, before: int | None = None, limit: int = 50
) -> list[Recorded]:
    """Answers, the newest first, those with a serial number below ``before`` (rule 3)."""
    undo = aliased(LabelEventRow)
    query = (
        select(LabelEventRow, undo.who, undo.at)
        .outerjoin(undo, undo.undoes == LabelEventRow.event_id)
        .where(LabelEventRow.inspection == inspection, LabelEventRow.kind != LabelKind.UNDO.value)
        .order_by(LabelEventRow.serial.desc())
        .limit(limit)
    )
    if who is not None:
        query = query.where(LabelEventRow.who == who)
    if before is not None:
        query = query.where(LabelEventRow.serial < before)
    with catalog.reading() as session:
        return [Recorded(event=event_of(row), undone_by=by, undone_at=at) for row, by, at in session.execute(query)]


def given_since(catalog: Catalog, inspection: str, since: datetime) -> dict[str, int]:
    """Class → labels of it that stand and were given after an instant: against what the gate asked for then."""
    undo = aliased(LabelEventRow)
    undone = select(undo.serial).where(undo.undoes == LabelEventRow.event_id).exists()
    text = cast(LabelEventRow.classes, Text)
    query = (
        select(text, func.count(func.distinct(LabelEventRow.sample_id)))
        .where(
            LabelEventRow.inspection == inspection,
            LabelEventRow.kind == LabelKind.LABEL.value,
            LabelEventRow.at > since,
            ~undone,
        )
        .group_by(text)
    )
    counts: dict[str, int] = {}
    with catalog.reading() as session:
        for classes, count in session.execute(query):
            for name in json.loads(classes):
                counts[name] = counts.get(name, 0) + count
    return counts
