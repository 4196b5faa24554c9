"""One label event as a row of the catalog: checked, and recorded once.

Rules 1 to 3 of :mod:`data.labels` are kept here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from data.catalog.models import LabelEventRow, SampleRow
from data.current_labels import LabelEvent, LabelKind
from data.inspections import Inspection, inspection_in
from edge_client.contract.errors import AndonError

_BATCH = 500  # SQLite's limit on parameters of one statement is 999 in old builds


class LabelError(AndonError):
    """A label event cannot be accepted."""


class Meanwhile(LabelError):
    """Somebody settled the sample between its being shown and its being answered (rule 6).

    Attributes:
        event: What was said of it meanwhile.
    """

    def __init__(self, event: LabelEvent) -> None:
        said = "+".join(event.classes) or "that nobody can tell"
        super().__init__(f"{event.who} answered sample {event.sample_id!r} meanwhile: {said}")
        self.event = event


def event_row(
    session: Session,
    sample: SampleRow | None,
    seen: LabelEventRow | None,
    *,
    kind: LabelKind,
    sample_id: str,
    classes: Sequence[str],
    who: str,
    event_id: str,
    at: datetime,
    source: str,
) -> LabelEventRow:
    """The row of an event: the one recorded before (rule 2), or a checked new one, added to the session."""
    if not who or not event_id:
        raise LabelError("a label event needs who said it and a unique event id; one of them is empty")
    wanted = tuple(sorted(set(classes)))
    if seen is not None:
        same = (seen.kind, seen.sample_id, tuple(seen.classes), seen.who) == (kind.value, sample_id, wanted, who)
        if not same:
            raise said_otherwise(event_id)
        return seen
    if sample is None:
        raise LabelError(f"sample {sample_id!r} is unknown; it may not be ingested yet: run `andon ingest`")
    if kind is LabelKind.LABEL:
        _check_classes(inspection_in(session, sample.inspection), wanted)
    row = LabelEventRow(
        event_id=event_id,
        sample_id=sample_id,
        inspection=sample.inspection,
        kind=kind.value,
        classes=list(wanted),
        who=who,
        at=at,
        source=source,
    )
    session.add(row)
    return row


def rows_in_batches(session: Session, column: InstrumentedAttribute[str], values: Sequence[str]) -> Iterator[Any]:
    """Rows of the column's table whose column is one of the values."""
    for start in range(0, len(values), _BATCH):
        yield from session.scalars(select(column.class_).where(column.in_(values[start : start + _BATCH])))


def seen_event(session: Session, event_id: str) -> LabelEventRow | None:
    """The row of an event id, if it was said before."""
    return session.scalars(select(LabelEventRow).where(LabelEventRow.event_id == event_id)).first()


def said_otherwise(event_id: str) -> LabelError:
    """The error of an event id that comes with other content."""
    return LabelError(f"label event {event_id!r} was recorded before with other content; use a new event id")


def _check_classes(inspection: Inspection, classes: Sequence[str]) -> None:
    if not classes:
        raise LabelError(
            f"empty label for inspection {inspection.name!r}; its classes are {list(inspection.class_names)}"
        )
    unknown = [name for name in classes if name not in inspection.class_names]
    if unknown:
        raise LabelError(
            f"class {unknown[0]!r} is unknown to inspection {inspection.name!r}; "
            f"its classes are {list(inspection.class_names)}"
        )
