"""Annotations become label events.

1. An annotation is one person's word on one sample. It is recorded once, however often it is read; changed in Label
   Studio it is recorded again, as another event of the same person.
2. Deleted there while its task stands, it is undone. That a task or a project is gone undoes nothing.
3. What was undone or said otherwise in the console stays so until the annotation itself changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.models import LabelEventRow, SampleRow
from data.current_labels import event_of, standing
from data.labels import LabelError, LabelEvent, LabelKind, record_cannot_tell, record_label, record_skip, undo_label
from flows.connect.labelling import Said, name_of, said_in

SOURCE = "label-studio"
_BATCH = 200


@dataclass(slots=True, kw_only=True)
class Pulled:
    """What came back: new events, undone ones, and annotations that say nothing usable."""

    recorded: int = 0
    undone: int = 0
    problems: list[str] = field(default_factory=list)


def pull(
    catalog: Catalog, tasks: Sequence[Mapping[str, Any]], people: Mapping[int, str], known: Sequence[str], now: datetime
) -> Pulled:
    """Record what the annotations of tasks say."""
    pulled = Pulled()
    with_id = [task for task in tasks if _sample(task)]
    for start in range(0, len(with_id), _BATCH):
        part = with_id[start : start + _BATCH]
        _pull(catalog, part, people, known, now, pulled)
    return pulled


def _pull(
    catalog: Catalog,
    tasks: Sequence[Mapping[str, Any]],
    people: Mapping[int, str],
    known: Sequence[str],
    now: datetime,
    pulled: Pulled,
) -> None:
    ids = [_sample(task) for task in tasks]
    with catalog.reading() as session:
        there = set(session.scalars(select(SampleRow.sample_id).where(SampleRow.sample_id.in_(ids))))
        ours = LabelEventRow.sample_id.in_(ids), LabelEventRow.event_id.like(f"{SOURCE}:%")
        seen = set(session.scalars(select(LabelEventRow.event_id).where(*ours)))
        standing_now: dict[str, LabelEvent] = {}
        by_sample: defaultdict[str, set[str]] = defaultdict(set)
        for row in session.scalars(standing().where(*ours).order_by(LabelEventRow.serial)):
            name = _annotation(row.event_id)
            standing_now[name] = event_of(row)
            by_sample[row.sample_id].add(name)
    present: defaultdict[str, set[str]] = defaultdict(set)  # two tasks may be of one sample, for a while
    for task in tasks:
        present[_sample(task)] |= {name_of(annotation) for annotation in task.get("annotations") or ()}
    for task in tasks:
        sample = _sample(task)
        if sample not in there:
            continue
        for annotation in task.get("annotations") or ():
            try:
                said = said_in(annotation, sample, known)
                if said.event_id in seen or _same(standing_now.get(said.annotation), said):
                    continue
                _record(catalog, said, people.get(said.person, f"user {said.person}"), min(said.at, now))
                pulled.recorded += 1
                seen.add(said.event_id)
            except (ValueError, LabelError) as error:
                pulled.problems.append(f"annotation {annotation.get('id')} of sample {sample}: {error}")
    for sample, names in by_sample.items():
        for name in names - present[sample]:
            gone = standing_now[name]
            undo_label(
                catalog, event_id=f"undo:{gone.event_id}", who=gone.who, at=now, target=gone.event_id, source=SOURCE
            )
            pulled.undone += 1


def _record(catalog: Catalog, said: Said, who: str, at: datetime) -> None:
    common: dict[str, Any] = {"who": who, "event_id": said.event_id, "at": at, "source": SOURCE}
    if said.kind is LabelKind.SKIP:
        record_skip(catalog, sample_id=said.sample_id, **common)
    elif said.kind is LabelKind.CANNOT_TELL:
        record_cannot_tell(catalog, sample_id=said.sample_id, **common)
    else:
        record_label(catalog, sample_id=said.sample_id, classes=said.classes, **common)


def _same(event: LabelEvent | None, said: Said) -> bool:
    return event is not None and (event.kind, event.classes) == (said.kind, said.classes)


def _annotation(event_id: str) -> str:
    """The annotation that an event's id names."""
    return event_id.rpartition(":")[0]


def _sample(task: Mapping[str, Any]) -> str:
    data = task.get("data")
    return str(data.get("sample_id") or "") if isinstance(data, Mapping) else ""
