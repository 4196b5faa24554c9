"""Taking back what a person said in an interval, for example a shift with the wrong instructions.

1. Only what stands is taken back, each event by an undo of its own; nothing is deleted (:mod:`data.labels`).
2. First it is shown what that takes back: how many answers, what they said, how many samples then have no label, and
   how many of them a snapshot has seen already (models learned from those).
3. What is taken back is what was shown: with ``expected`` the call fails if more or fewer answers stand by then.
4. The same call again takes back nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import LabelEventRow
from data.current_labels import LabelEvent, LabelKind, event_of, labels_seen, standing_events, standing_of
from data.labels import LabelError, derive, undo_in

_SETTLED = (LabelKind.LABEL, LabelKind.CANNOT_TELL)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoPreview:
    """What an undo would take back (rule 2).

    Attributes:
        answers: How many events.
        said: Label as text, or the kind of the event, → how many.
        unlabelled: Samples that then have no label.
        others: Samples whose label is then somebody else's.
        learned: Events that a snapshot has seen.
        newest: The newest of them, newest first, at most as many as were asked for.
    """

    answers: int
    said: Mapping[str, int]
    unlabelled: int
    others: int
    learned: int
    first: datetime | None
    last: datetime | None
    newest: tuple[LabelEvent, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without the events."""
        return {
            "answers": self.answers,
            "said": dict(self.said),
            "unlabelled": self.unlabelled,
            "others": self.others,
            "learned": self.learned,
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
        }


def preview_undo(
    catalog: Catalog, inspection: str, *, of: str, since: datetime, until: datetime, show: int = 24
) -> UndoPreview:
    """What `undo_labels` with the same arguments would take back."""
    with catalog.reading() as session:
        events = [event_of(row) for row in session.scalars(_wanted(inspection, of, since, until))]
        touched = {event.sample_id for event in events if event.kind in _SETTLED}
        gone = {event.event_id for event in events}
        standing = standing_events(session, touched)
        before = derive(standing)
        after = derive(event for event in standing if event.event_id not in gone)
        seen = labels_seen(session, inspection)
    said = Counter("+".join(event.classes) or event.kind.value for event in events)
    instants = [event.at for event in events]
    return UndoPreview(
        answers=len(events),
        said=dict(said.most_common()),
        unlabelled=len(before.keys() - after.keys()),
        others=sum(1 for sample_id, label in after.items() if before[sample_id].serial != label.serial),
        learned=sum(1 for event in events if event.serial <= seen),
        first=min(instants, default=None),
        last=max(instants, default=None),
        newest=tuple(events[:show]),
    )


def undo_labels(
    catalog: Catalog,
    *,
    event_id: str,
    of: str,
    since: datetime,
    until: datetime,
    who: str,
    at: datetime,
    source: str = "console",
    inspection: str | None = None,
    expected: int | None = None,
) -> list[LabelEvent]:
    """Undo everything that ``of`` said in [since, until], of one inspection or of all.

    ``event_id`` is the stem of the undo events' ids; the same call again undoes nothing twice.

    Raises:
        LabelError: ``expected`` is not how many answers stand (rule 3).
    """
    with catalog.session() as session:
        rows = list(session.scalars(_wanted(inspection, of, since, until)))
        if expected is not None and len(rows) != expected and not _done(session, event_id):
            raise LabelError(
                f"{len(rows)} answers of {of!r} stand between {since.isoformat()} and {until.isoformat()}, but "
                f"{expected} were shown; look at them again, then undo"
            )
        return [
            event_of(undo_in(session, row, event_id=f"{event_id}:{row.serial}", who=who, at=at, source=source))
            for row in rows
        ]


def _done(session: Session, event_id: str) -> bool:
    """Whether a call with this stem was carried out before (rule 4)."""
    query = select(LabelEventRow.serial).where(
        LabelEventRow.kind == LabelKind.UNDO.value, LabelEventRow.event_id.startswith(f"{event_id}:", autoescape=True)
    )
    return session.scalars(query.limit(1)).first() is not None


def _wanted(inspection: str | None, of: str, since: datetime, until: datetime) -> Select[tuple[LabelEventRow]]:
    query = standing_of(of).where(LabelEventRow.at >= since, LabelEventRow.at <= until)
    return query if inspection is None else query.where(LabelEventRow.inspection == inspection)
