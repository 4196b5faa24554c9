"""Drawn samples that nobody has settled yet, found without looking at all that were ever drawn.

1. `draw_items.settled_by` is the serial number of a standing event that settled the sample (a label, a cannot-tell). It
   is a note, not the truth: a sample without it may be settled; one with it is, as long as that event stands.
2. So what may be open is what has no such note, or one whose event was undone. Whether it is, its events say.
3. The note is made where samples are handed out (:func:`note_settled`), and nowhere needs to be: it only spares work.
   An undo names an event that was committed before, so no order of transactions makes the note of an open sample right.
4. Whatever deletes label events must clear the notes of their samples.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Subquery, and_, func, select, union, update
from sqlalchemy.orm import Session, aliased

from data.catalog.models import DrawItemRow, DrawRow, LabelEventRow
from data.labels import LabelKind
from data.sample_conditions import SETTLED


def maybe_open(inspection: str) -> Subquery:
    """(draw_id, sample_id) of the drawn samples of an inspection that may be open (rule 2)."""
    undo, event = aliased(LabelEventRow), aliased(LabelEventRow)
    item = select(DrawItemRow.draw_id, DrawItemRow.sample_id).join(DrawRow, DrawRow.id == DrawItemRow.draw_id)
    mine = and_(DrawRow.inspection == inspection, DrawItemRow.drawn)
    without = item.where(mine, DrawItemRow.settled_by.is_(None))
    undone = (
        select(DrawItemRow.draw_id, DrawItemRow.sample_id)
        .select_from(undo)
        .join(event, event.event_id == undo.undoes)
        .join(DrawItemRow, DrawItemRow.sample_id == event.sample_id)
        .join(DrawRow, DrawRow.id == DrawItemRow.draw_id)
        .where(undo.inspection == inspection, undo.kind == LabelKind.UNDO.value, mine)
        .where(DrawItemRow.settled_by == event.serial)
    )
    return union(without, undone).subquery()


def note_settled(session: Session, inspection: str) -> int:
    """Note which of what may be open is settled (rule 3); how many are."""
    found = session.execute(_settled(maybe_open(inspection))).all()
    table: Any = DrawItemRow.__table__
    for draw_id, sample_id, serial in found:
        session.execute(
            update(table).where(table.c.draw_id == draw_id, table.c.sample_id == sample_id).values(settled_by=serial)
        )
    return len(found)


def _settled(items: Subquery) -> Any:
    """(draw_id, sample_id, serial) of items with an event that settles them and stands."""
    event, undo = aliased(LabelEventRow), aliased(LabelEventRow)
    return (
        select(items.c.draw_id, items.c.sample_id, func.max(event.serial))
        .join(event, event.sample_id == items.c.sample_id)
        .where(event.kind.in_(SETTLED), ~select(undo.serial).where(undo.undoes == event.event_id).exists())
        .group_by(items.c.draw_id, items.c.sample_id)
    )
