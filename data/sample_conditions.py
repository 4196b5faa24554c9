"""Conditions on ``SampleRow`` that the draws and the queue share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import exists, func, or_
from sqlalchemy.orm import aliased

from data.catalog.models import DrawItemRow, EventRow, LabelEventRow, SampleRow
from data.labels import LabelKind

SETTLED = (LabelKind.LABEL.value, LabelKind.CANNOT_TELL.value)


def of_inspection(inspection: str) -> Any:
    """It is of this inspection; never what it is searched by, where something else names a few samples.

    An index on the bare column would be: and a large inspection has a million of them.
    """
    return SampleRow.inspection.concat("") == inspection


def kept() -> Any:
    """Its image is there: it was not erased (`data.erasure`)."""
    return SampleRow.erased_at.is_(None)


def said(who: str | None, *kinds: str) -> Any:
    """Whether the sample has an event of these kinds (of that person) that was not undone."""
    event, undo = aliased(LabelEventRow), aliased(LabelEventRow)
    found = exists().where(
        event.sample_id == SampleRow.sample_id,
        event.kind.in_(kinds),
        ~exists().where(undo.undoes == event.event_id),
    )
    return found if who is None else found.where(event.who == who)


def settled() -> Any:
    """Somebody labelled it or could not tell."""
    return said(None, *SETTLED)


def drawn() -> Any:
    """A draw took it, with or without a probability."""
    return exists().where(DrawItemRow.sample_id == SampleRow.sample_id, DrawItemRow.drawn)


def spoken_for() -> Any:
    """A near-duplicate that was drawn together with it speaks for it, and is not settled yet."""
    event, undo, own = aliased(LabelEventRow), aliased(LabelEventRow), aliased(DrawItemRow)
    answered = exists().where(
        event.sample_id == own.cluster,
        event.kind.in_(SETTLED),
        ~exists().where(undo.undoes == event.event_id),
    )
    return exists().where(
        own.sample_id == SampleRow.sample_id, own.drawn, own.cluster != SampleRow.sample_id, ~answered
    )


def flagged() -> Any:
    """An operator pulled the cord on it."""
    event = exists().where(EventRow.sample_id == SampleRow.sample_id, EventRow.kind == "flag")
    return or_(func.coalesce(SampleRow.extra, "") == "flag", event)  # NULL would not negate
