"""Frames that policy does not keep any longer: `[retention] frames_days`.

1. Only frames that a device captured, and that nothing needs: nobody said anything of them, nobody is or will be asked
   about them, no operator or labeller flagged them, no snapshot holds them (it holds labelled ones alone).
2. A frame whose window no draw was offered yet is needed: it may be drawn.
3. What estimates rest on stays: the row with its chances and what the engine said, the draw that passed it over, and
   the part's id, by which outcomes and causes are found. Only image, embedding and anomaly map go.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import (
    DrawItemRow,
    EventRow,
    LabelEventRow,
    LabelFlagRow,
    LabelReviewRow,
    SampleRow,
    WindowRow,
)
from data.sample_conditions import kept


def expired_samples(catalog: Catalog, inspection: str, *, days: float, now: datetime, limit: int) -> list[str]:
    """Ids of samples whose frames may go, the oldest first (rules 1 and 2).

    Args:
        catalog: The catalog.
        inspection: Its name.
        days: How long frames are kept; 0: for ever.
        now: The time.
        limit: How many at most.
    """
    if days <= 0:
        return []
    with catalog.reading() as session:
        return _expired(session, inspection, now - timedelta(days=days), limit)


def _expired(session: Session, inspection: str, before: datetime, limit: int) -> list[str]:
    window_waits = exists().where(
        WindowRow.device == SampleRow.device,
        WindowRow.epoch == SampleRow.epoch,
        WindowRow.window == SampleRow.window,
        WindowRow.draw_id.is_(None),
    )
    query = (
        select(SampleRow.sample_id)
        .where(SampleRow.inspection == inspection, SampleRow.origin == "field", SampleRow.captured_at < before)
        .where(kept(), SampleRow.extra.is_distinct_from("flag"))
        .where(~exists().where(LabelEventRow.sample_id == SampleRow.sample_id))
        .where(~exists().where(DrawItemRow.sample_id == SampleRow.sample_id, DrawItemRow.drawn))
        .where(~exists().where(EventRow.sample_id == SampleRow.sample_id, EventRow.kind == "flag"))
        .where(~exists().where(LabelFlagRow.sample_id == SampleRow.sample_id))
        .where(~exists().where(LabelReviewRow.sample_id == SampleRow.sample_id))
        .where(~(SampleRow.counted & window_waits))
        .order_by(SampleRow.captured_at, SampleRow.sample_id)
        .limit(limit)
    )
    return list(session.scalars(query))
