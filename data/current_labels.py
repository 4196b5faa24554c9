"""Label events as they stand, and the current labels derived from them.

1. What one person says of a sample is their newest event on it that was not undone (skips aside: a skip
   says nothing). ``cannot_tell`` takes that person's label back.
2. The current label of a sample is the newest of those. Where people differ, ``disagreement`` is set.

Events are recorded by :mod:`data.labels`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session, aliased

from data.catalog import Catalog
from data.catalog.models import LabelEventRow, SnapshotRow

_BATCH = 500  # SQLite's limit on parameters of one statement is 999 in old builds


class LabelKind(str, Enum):
    """What somebody did."""

    LABEL = "label"
    UNDO = "undo"
    SKIP = "skip"  # not now, not me
    CANNOT_TELL = "cannot_tell"  # looked, and the picture does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelEvent:
    """One event, as recorded. ``serial`` rises in the order in which events were recorded.

    ``because`` names the event on a near-duplicate whose label this one repeats.
    """

    serial: int
    event_id: str
    sample_id: str
    inspection: str
    kind: LabelKind
    classes: tuple[str, ...]
    who: str
    at: datetime
    source: str
    undoes: str | None = None
    because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentLabel:
    """The derived label of a sample.

    Attributes:
        by: Who gave it.
        serial: Of the event that gave it.
        opinions: person → classes, of everyone whose label stands.
    """

    sample_id: str
    classes: tuple[str, ...]
    by: str
    at: datetime
    serial: int
    opinions: dict[str, tuple[str, ...]]

    @property
    def disagreement(self) -> bool:
        """Whether people whose labels stand differ."""
        return len(set(self.opinions.values())) > 1


def current_label(catalog: Catalog, sample_id: str) -> CurrentLabel | None:
    """The label of one sample as it stands now."""
    return current_labels(catalog, [sample_id]).get(sample_id)


def current_labels(
    catalog: Catalog, sample_ids: Iterable[str] | None = None, *, inspection: str | None = None
) -> dict[str, CurrentLabel]:
    """The labels of many samples, or of a whole inspection; unlabelled ones are missing."""
    with catalog.reading() as session:
        return current_labels_in(session, sample_ids, inspection=inspection)


def current_labels_in(
    session: Session, sample_ids: Iterable[str] | None = None, *, inspection: str | None = None
) -> dict[str, CurrentLabel]:
    """As :func:`current_labels`, inside a transaction."""
    return derive(standing_events(session, sample_ids, inspection=inspection))


def label_history(catalog: Catalog, sample_id: str) -> list[LabelEvent]:
    """Every event of a sample, undone ones and undos included, oldest first."""
    with catalog.reading() as session:
        query = select(LabelEventRow).where(LabelEventRow.sample_id == sample_id).order_by(LabelEventRow.serial)
        return [event_of(row) for row in session.scalars(query)]


def derive(events: Iterable[LabelEvent]) -> dict[str, CurrentLabel]:
    """Rules 1 and 2, on events that stand, oldest first (by recording order)."""
    said: dict[str, dict[str, LabelEvent]] = defaultdict(dict)
    for event in events:
        if event.kind in (LabelKind.LABEL, LabelKind.CANNOT_TELL):
            said[event.sample_id].pop(event.who, None)  # keeps the dict in the order things were said
            said[event.sample_id][event.who] = event
    labels: dict[str, CurrentLabel] = {}
    for sample_id, by_person in said.items():
        standing = [event for event in by_person.values() if event.kind is LabelKind.LABEL]
        if standing:
            newest = standing[-1]
            labels[sample_id] = CurrentLabel(
                sample_id=sample_id,
                classes=newest.classes,
                by=newest.who,
                at=newest.at,
                serial=newest.serial,
                opinions={event.who: event.classes for event in standing},
            )
    return labels


def standing_events(
    session: Session, sample_ids: Iterable[str] | None = None, *, inspection: str | None = None
) -> list[LabelEvent]:
    """Events that were not undone (and are no undo), in recording order."""
    query = standing().order_by(LabelEventRow.serial)
    if inspection is not None:
        query = query.where(LabelEventRow.inspection == inspection)
    query = query.with_only_columns(*LabelEventRow.__table__.columns)  # values, not objects: a tenth of the time
    if sample_ids is None:
        return [event_of(row) for row in session.execute(query)]
    wanted = list(dict.fromkeys(sample_ids))
    events: list[LabelEvent] = []
    for start in range(0, len(wanted), _BATCH):
        some = query.where(LabelEventRow.sample_id.in_(wanted[start : start + _BATCH]))
        events += [event_of(row) for row in session.execute(some)]
    return events


def labels_seen(session: Session, inspection: str) -> int:
    """Serial number of the newest label event that a snapshot of the inspection has taken account of.

    Serial numbers, not instants: people's clocks differ. Taking a snapshot that turns out to be an old one
    moves this on too, else the same labels would ask for training again and again.
    """
    query = select(func.max(SnapshotRow.label_serial)).where(SnapshotRow.inspection == inspection)
    return session.scalar(query) or 0


def standing() -> Select[tuple[LabelEventRow]]:
    """Events that were not undone and are no undo."""
    undo = aliased(LabelEventRow)
    undone = select(undo.undoes).where(undo.undoes == LabelEventRow.event_id).exists()
    return select(LabelEventRow).where(LabelEventRow.kind != LabelKind.UNDO.value, ~undone)


def standing_of(who: str) -> Select[tuple[LabelEventRow]]:
    """The same of one person, newest first."""
    return standing().where(LabelEventRow.who == who).order_by(LabelEventRow.serial.desc())


def event_of(row: LabelEventRow | Row[Any]) -> LabelEvent:
    """The value of a row."""
    return LabelEvent(
        serial=row.serial,
        event_id=row.event_id,
        sample_id=row.sample_id,
        inspection=row.inspection,
        kind=LabelKind(row.kind),
        classes=tuple(row.classes),
        who=row.who,
        at=row.at,
        source=row.source,
        undoes=row.undoes,
        because=row.because,
    )
