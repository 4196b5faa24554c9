"""Notes of what is settled change nothing but the work (`data.open_items`)."""

from __future__ import annotations

import random
from datetime import timedelta

import numpy as np
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DrawItemRow
from data.labels import record_cannot_tell, record_skip, undo_label
from data.open_items import maybe_open, note_settled
from data.queue import draw, next_to_label, pick
from tests.unit.data.captured_line import INSPECTION, T0, Line


def offered(session: Session) -> dict[str, list[str]]:
    """Whom what would be shown."""
    rows = {who: pick(session, INSPECTION, who, 100, T0 + timedelta(days=1)) for who in ("ann", "bob")}
    return {who: [row.sample_id for row, _ in each] for who, each in rows.items()}


def noted(catalog: Catalog) -> int:
    with catalog.reading() as session:
        return len(session.scalars(select(DrawItemRow.sample_id).where(DrawItemRow.settled_by.is_not(None))).all())


def test_the_queue_is_the_same_with_and_without_notes(catalog: Catalog, line: Line) -> None:
    dice = random.Random(2)
    for _ in range(3):
        line.stream(["ok"] * 12, np.linspace(0.1, 1, 12), keep=8)
        draw(catalog, INSPECTION, 6, random=dice, at=T0)
    ids, done, seen_notes, undone = sorted(line.truth), 0, 0, 0
    for step in range(12):
        who, at = dice.choice(["ann", "bob"]), T0 + timedelta(seconds=step)
        act = dice.choice(["label", "label", "cannot tell", "skip", "undo", "look"])
        if act == "label":
            line.label(dice.choice(ids), who=who, at=at, event_id=f"{step}")
        elif act == "cannot tell":
            record_cannot_tell(catalog, sample_id=dice.choice(ids), who=who, event_id=f"{step}", at=at)
        elif act == "skip":
            record_skip(catalog, sample_id=dice.choice(ids), who=who, event_id=f"{step}", at=at)
        elif act == "undo" and done:
            undone += undo_label(catalog, event_id=f"{step}", who=who, at=at) is not None
        else:
            next_to_label(catalog, INSPECTION, who, 3, at=at, lease_seconds=0.1)
        done += act in ("label", "cannot tell")
        seen_notes = max(seen_notes, noted(catalog))
        with catalog.reading() as session:
            with_notes = offered(session)
            session.execute(update(DrawItemRow).values(settled_by=None))  # thrown away
            assert offered(session) == with_notes
    assert seen_notes > 0
    assert undone > 0


def test_what_is_settled_is_looked_at_once_and_an_undo_opens_it_again(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 6, np.linspace(0.1, 1, 6), keep=4)
    drawn = list(draw(catalog, INSPECTION, 4, random=random.Random(1), at=T0).sample_ids)
    line.label(drawn[0])

    def open_now() -> set[str]:
        with catalog.reading() as session:
            return set(session.scalars(select(maybe_open(INSPECTION).c.sample_id)))

    assert open_now() == set(drawn)
    with catalog.session() as session:
        assert note_settled(session, INSPECTION) == 1
    assert open_now() == set(drawn[1:])
    undo_label(catalog, event_id="u", who="ann", at=T0)
    assert open_now() == set(drawn)
    line.label(drawn[0], who="bob")
    with catalog.session() as session:
        assert note_settled(session, INSPECTION) == 1
    assert open_now() == set(drawn[1:])
