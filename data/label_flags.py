"""Flags of people who label: "somebody should look at this", with a note, until somebody closes it.

1. A flag says nothing of the class: it changes no label, no estimate and no training set, and takes no sample out of
   the queue.
2. Its event id is said once: the same again changes nothing.
3. An answer that came after somebody else had given another (:class:`data.labels.Meanwhile`) is kept as a flag, with
   what was ``said``: nobody's work is lost, and no label is overruled by accident.
4. Closing one is noted with who and when; a closed flag stays on record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from data.catalog import Catalog
from data.catalog.models import LabelFlagRow, SampleRow
from data.labels import LabelError

MOST_NOTE = 2_000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFlag:
    """A flag as recorded."""

    event_id: str
    sample_id: str
    who: str
    at: datetime
    note: str
    said: tuple[str, ...] | None
    closed_by: str | None
    closed_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "event_id": self.event_id,
            "who": self.who,
            "at": self.at.isoformat(),
            "note": self.note,
            "said": None if self.said is None else list(self.said),
        }


def raise_flag(
    catalog: Catalog,
    *,
    sample_id: str,
    who: str,
    event_id: str,
    note: str,
    at: datetime,
    said: Sequence[str] | None = None,
) -> LabelFlag:
    """Record a flag (rules 1 to 3).

    Raises:
        LabelError: Unknown sample, a note that is empty or too long, or an event id that said something else before.
    """
    words = note.strip()
    if not 0 < len(words) <= MOST_NOTE:
        raise LabelError(f"the note has {len(words)} characters: say in 1 to {MOST_NOTE} what should be looked at")

    def record() -> LabelFlag:
        with catalog.session() as session:
            row = session.get(LabelFlagRow, event_id)
            if row is not None:
                if (row.sample_id, row.who, row.note) != (sample_id, who, words):
                    raise LabelError(f"flag {event_id!r} was recorded before with other content; use a new event id")
                return _flag(row)
            sample = session.get(SampleRow, sample_id)
            if sample is None:
                raise LabelError(f"sample {sample_id!r} is unknown; it may not be ingested yet: run `andon ingest`")
            row = LabelFlagRow(
                event_id=event_id,
                sample_id=sample_id,
                inspection=sample.inspection,
                who=who,
                at=at,
                note=words,
                said=None if said is None else sorted(set(said)),
            )
            session.add(row)
            return _flag(row)

    try:
        return record()
    except IntegrityError:  # the same flag came twice at the same time
        return record()


def close_flag(catalog: Catalog, event_id: str, *, who: str, at: datetime) -> LabelFlag:
    """Close a flag (rule 4). Closing one that is closed changes nothing.

    Raises:
        LabelError: There is no such flag.
    """
    with catalog.session() as session:
        row = session.get(LabelFlagRow, event_id, with_for_update=True)
        if row is None:
            raise LabelError(f"flag {event_id!r} is unknown; reload the page")
        if row.closed_at is None:
            row.closed_by, row.closed_at = who, at
        return _flag(row)


def open_flags(catalog: Catalog, inspection: str, *, limit: int = 100, offset: int = 0) -> list[LabelFlag]:
    """Flags that nobody closed, oldest first."""
    with catalog.reading() as session:
        query = (
            select(LabelFlagRow)
            .where(LabelFlagRow.inspection == inspection, LabelFlagRow.closed_at.is_(None))
            .order_by(LabelFlagRow.at, LabelFlagRow.event_id)
        )
        return [_flag(row) for row in session.scalars(query.offset(offset).limit(limit))]


def count_flags(catalog: Catalog, inspection: str) -> int:
    """How many flags are open."""
    with catalog.reading() as session:
        query = select(func.count()).where(LabelFlagRow.inspection == inspection, LabelFlagRow.closed_at.is_(None))
        return session.scalar(query) or 0


def _flag(row: LabelFlagRow) -> LabelFlag:
    return LabelFlag(
        event_id=row.event_id,
        sample_id=row.sample_id,
        who=row.who,
        at=row.at,
        note=row.note,
        said=None if row.said is None else tuple(row.said),
        closed_by=row.closed_by,
        closed_at=row.closed_at,
    )
