"""Labels: an append-only record of who said what, when.

1. Events are only ever added. An undo is an event too. Nothing is edited.
2. An event id is said once: the same id again, with the same content, changes nothing (a console that
   retries); with other content it is an error.
3. A label is a set of class names of the inspection. An unknown class or sample is an error.
4. An undo undoes one event: the one named, or the newest of a person.
   An undone event cannot be undone twice; to restore it, label again.
5. A label may be given for near-duplicates too (``also``): each gets an event of its own, by the same person, that
   names the event it repeats (``because``). Only samples that one draw took together can share a label so, and nobody's
   answer is overruled: those that were settled meanwhile are left as they are. To undo the one undoes them all.
6. Two people never answer the same sample by accident. An answer may name the newest event that its giver had seen
   (``after``); if somebody settled the sample since, it is not recorded but raises :class:`Meanwhile`. A person may
   still correct their own answer.

What follows from the events is in :mod:`data.current_labels`; taking back what a person said in an interval is in
:mod:`data.label_undo`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from data.catalog import Catalog
from data.catalog.models import DrawItemRow, LabelEventRow, LeaseRow, SampleRow
from data.current_labels import (
    CurrentLabel,
    LabelEvent,
    LabelKind,
    current_label,
    current_labels,
    current_labels_in,
    derive,
    event_of,
    label_history,
    standing,
    standing_events,
    standing_of,
)
from data.label_rows import (
    LabelError,
    Meanwhile,
    event_row,
    rows_in_batches,
    said_otherwise,
    seen_event,
)

__all__ = [
    "CurrentLabel",
    "LabelError",
    "LabelEvent",
    "LabelKind",
    "Meanwhile",
    "NewLabel",
    "current_label",
    "current_labels",
    "current_labels_in",
    "derive",
    "label_history",
    "record_cannot_tell",
    "record_label",
    "record_labels",
    "record_labels_in",
    "record_skip",
    "settled_transaction",
    "standing_events",
    "undo_in",
    "undo_label",
]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLabel:
    """One label to record in a batch."""

    sample_id: str
    classes: Sequence[str]
    event_id: str


def record_label(
    catalog: Catalog,
    *,
    sample_id: str,
    classes: Sequence[str],
    who: str,
    event_id: str,
    at: datetime,
    source: str = "console",
    also: Sequence[str] = (),
    after: int | None = None,
) -> LabelEvent:
    """Record that ``who`` says the sample is of these classes.

    Args:
        catalog: The catalog.
        sample_id: The sample that was shown.
        classes: A non-empty set of class names of its inspection.
        who: The person (or the archive) that says so.
        event_id: Unique; a retry repeats it.
        at: When it was said.
        source: ``console``, ``rehearsal``, ``import``, …
        also: Near-duplicates of it that the label is given for, too (rule 5).
        after: Serial number of the newest event on the sample that ``who`` had seen (rule 6); None: does not matter.

    Raises:
        Meanwhile: somebody settled it after that.
        LabelError: unknown sample or class, empty label, an event id that said something else before, or a sample in
            ``also`` that was not drawn together with this one.
    """

    def record(session: Session) -> LabelEvent:
        event = _record(
            session,
            kind=LabelKind.LABEL,
            sample_id=sample_id,
            classes=classes,
            who=who,
            event_id=event_id,
            at=at,
            source=source,
            after=after,
        )
        _repeat(session, event, also)
        return event

    return settled_transaction(catalog, record)


def record_labels(
    catalog: Catalog, labels: Iterable[NewLabel], *, who: str, at: datetime, source: str
) -> list[LabelEvent]:
    """Record many labels in one transaction; all or none. Each obeys the rules of :func:`record_label`."""
    with catalog.session() as session:
        return record_labels_in(session, labels, who=who, at=at, source=source)


def record_labels_in(
    session: Session, labels: Iterable[NewLabel], *, who: str, at: datetime, source: str
) -> list[LabelEvent]:
    """As :func:`record_labels`, inside a transaction of the caller's (samples added before are flushed)."""
    wanted = list(labels)
    session.flush()
    # What single records would ask one by one is asked in batches: an import has thousands.
    event_ids, sample_ids = [w.event_id for w in wanted], [w.sample_id for w in wanted]
    seen = {row.event_id: row for row in rows_in_batches(session, LabelEventRow.event_id, event_ids)}
    samples = {row.sample_id: row for row in rows_in_batches(session, SampleRow.sample_id, sample_ids)}
    rows: list[LabelEventRow] = []
    for label in wanted:
        row = event_row(
            session,
            samples.get(label.sample_id),
            seen.get(label.event_id),
            kind=LabelKind.LABEL,
            sample_id=label.sample_id,
            classes=label.classes,
            who=who,
            event_id=label.event_id,
            at=at,
            source=source,
        )
        seen[label.event_id] = row
        rows.append(row)
    session.flush()
    return [event_of(row) for row in rows]


def record_skip(
    catalog: Catalog, *, sample_id: str, who: str, event_id: str, at: datetime, source: str = "console"
) -> LabelEvent:
    """``who`` passes the sample on; it is offered to others."""
    return settled_transaction(
        catalog,
        lambda session: _record(
            session,
            kind=LabelKind.SKIP,
            sample_id=sample_id,
            classes=(),
            who=who,
            event_id=event_id,
            at=at,
            source=source,
        ),
    )


def record_cannot_tell(
    catalog: Catalog,
    *,
    sample_id: str,
    who: str,
    event_id: str,
    at: datetime,
    source: str = "console",
    after: int | None = None,
) -> LabelEvent:
    """``who`` looked and the picture does not say; nobody is asked again, and it counts as non-response."""
    return settled_transaction(
        catalog,
        lambda session: _record(
            session,
            kind=LabelKind.CANNOT_TELL,
            sample_id=sample_id,
            classes=(),
            who=who,
            event_id=event_id,
            at=at,
            source=source,
            after=after,
        ),
    )


def undo_label(
    catalog: Catalog, *, event_id: str, who: str, at: datetime, target: str | None = None, source: str = "console"
) -> LabelEvent | None:
    """Undo the event ``target``, or the newest one of ``who`` that stands.

    Args:
        catalog: The catalog.
        event_id: Unique id of the undo itself; a retry repeats it.
        who: Who undoes.
        at: When.
        target: Event to undo; a person may undo another's event by naming it.
        source: Where the undo came from.

    Returns:
        The undo, or None if there was nothing to undo.

    Raises:
        LabelError: the target is unknown, or an undo itself.
    """

    def undo(session: Session) -> LabelEvent | None:
        seen = seen_event(session, event_id)
        if seen is not None:
            if seen.kind != LabelKind.UNDO.value or (target is not None and seen.undoes != target):
                raise said_otherwise(event_id)
            return event_of(seen)
        query = standing().where(LabelEventRow.event_id == target) if target else standing_of(who).limit(1)
        row = session.scalars(query).first()
        if row is None:
            if target is not None:
                _check_target(session, target)
            return None
        if target is None and row.because is not None:  # the newest one is what was given for all of a run
            row = session.scalars(standing().where(LabelEventRow.event_id == row.because)).first() or row
        undone = undo_in(session, row, event_id=event_id, who=who, at=at, source=source)
        for repeated in session.scalars(standing().where(LabelEventRow.because == row.event_id)):
            undo_in(session, repeated, event_id=f"{event_id}:{repeated.serial}", who=who, at=at, source=source)
        return event_of(undone)

    return settled_transaction(catalog, undo)


def settled_transaction(catalog: Catalog, act: Callable[[Session], _T]) -> _T:
    """Run in a transaction; once more if another process recorded the same event at the same time."""
    try:
        with catalog.session() as session:
            return act(session)
    except IntegrityError:
        with catalog.session() as session:
            return act(session)


def _record(
    session: Session,
    *,
    kind: LabelKind,
    sample_id: str,
    classes: Sequence[str],
    who: str,
    event_id: str,
    at: datetime,
    source: str,
    after: int | None = None,
) -> LabelEvent:
    seen = seen_event(session, event_id)
    sample = session.get(SampleRow, sample_id, with_for_update=after is not None)
    if seen is None and after is not None:
        _check_meanwhile(session, sample_id, who=who, kind=kind, classes=tuple(sorted(set(classes))), after=after)
    row = event_row(
        session,
        sample,
        seen,
        kind=kind,
        sample_id=sample_id,
        classes=classes,
        who=who,
        event_id=event_id,
        at=at,
        source=source,
    )
    lease = session.get(LeaseRow, sample_id)
    if lease is not None:
        session.delete(lease)
    session.flush()
    return event_of(row)


def _check_meanwhile(
    session: Session, sample_id: str, *, who: str, kind: LabelKind, classes: tuple[str, ...], after: int
) -> None:
    """Rule 6."""
    query = (
        standing()
        .where(LabelEventRow.sample_id == sample_id, LabelEventRow.serial > after)
        .where(LabelEventRow.kind.in_((LabelKind.LABEL.value, LabelKind.CANNOT_TELL.value)))
        .order_by(LabelEventRow.serial.desc())
    )
    for event in map(event_of, session.scalars(query)):
        if event.who != who or (event.kind, event.classes) == (kind, classes):
            raise Meanwhile(event)


def _repeat(session: Session, event: LabelEvent, also: Sequence[str]) -> None:
    """Rule 5."""
    others = sorted(set(also) - {event.sample_id})
    if not others:
        return
    together = set(_drawn_with(session, event.sample_id))
    settled = {
        one.sample_id
        for one in standing_events(session, others)
        if one.kind in (LabelKind.LABEL, LabelKind.CANNOT_TELL) and one.because != event.event_id
    }
    for sample_id in others:
        if sample_id not in together:
            raise LabelError(
                f"sample {sample_id!r} was not drawn together with {event.sample_id!r}; label it for itself"
            )
        if sample_id in settled:
            continue
        event_id = f"{event.event_id}:{hashlib.sha256(sample_id.encode()).hexdigest()[:16]}"
        row = event_row(
            session,
            session.get(SampleRow, sample_id),
            seen_event(session, event_id),
            kind=LabelKind.LABEL,
            sample_id=sample_id,
            classes=event.classes,
            who=event.who,
            event_id=event_id,
            at=event.at,
            source=event.source,
        )
        row.because = event.event_id
    session.flush()


def _drawn_with(session: Session, sample_id: str) -> Iterator[str]:
    """The samples of the group with which a draw took this one."""
    own, other = aliased(DrawItemRow), aliased(DrawItemRow)
    query = (
        select(other.sample_id)
        .join(own, (own.draw_id == other.draw_id) & (own.cluster == other.cluster))
        .where(own.sample_id == sample_id, own.drawn)
    )
    yield from session.scalars(query)


def undo_in(
    session: Session, row: LabelEventRow, *, event_id: str, who: str, at: datetime, source: str
) -> LabelEventRow:
    """Add the undo of an event that stands, inside a transaction."""
    undo = LabelEventRow(
        event_id=event_id,
        sample_id=row.sample_id,
        inspection=row.inspection,
        kind=LabelKind.UNDO.value,
        classes=[],
        who=who,
        at=at,
        source=source,
        undoes=row.event_id,
    )
    session.add(undo)
    session.flush()
    return undo


def _check_target(session: Session, target: str) -> None:
    row = seen_event(session, target)
    if row is None:
        raise LabelError(f"label event {target!r} is unknown; nothing was undone")
    if row.kind == LabelKind.UNDO.value:
        raise LabelError(f"label event {target!r} is an undo itself; to restore what it undid, label again")
