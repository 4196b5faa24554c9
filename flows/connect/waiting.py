"""Which samples wait for a label, in the order in which people should see them: what the console's queue is made of."""

from __future__ import annotations

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DrawItemRow, DrawRow, SampleRow
from data.open_items import maybe_open
from data.sample_conditions import flagged, of_inspection, settled, spoken_for


def waiting_samples(catalog: Catalog, inspection: str, most: int) -> list[SampleRow]:
    """Samples that nobody has settled: flagged ones first, then draws, oldest first and by rank."""
    with catalog.reading() as session:
        pulled = (
            select(SampleRow)
            .where(SampleRow.inspection == inspection, ~settled(), flagged())
            .order_by(SampleRow.captured_at, SampleRow.sample_id)
        )
        found = list(session.scalars(pulled.limit(most)))
        return found + _drawn(session, inspection, most - len(found))


def _drawn(session: Session, inspection: str, most: int) -> list[SampleRow]:
    if most < 1:
        return []
    items = maybe_open(inspection)
    query = (
        select(SampleRow)
        .select_from(items)
        .join(DrawItemRow, and_(DrawItemRow.draw_id == items.c.draw_id, DrawItemRow.sample_id == items.c.sample_id))
        .join(DrawRow, DrawRow.id == DrawItemRow.draw_id)
        .join(SampleRow, SampleRow.sample_id == DrawItemRow.sample_id)
        .where(of_inspection(inspection), ~settled(), ~flagged(), ~spoken_for())
        .order_by(DrawRow.at, DrawRow.id, DrawItemRow.rank)
    )
    first: dict[str, SampleRow] = {}
    for row in session.scalars(query.limit(2 * most)):  # a sample may be in two draws
        first.setdefault(row.sample_id, row)
    return list(first.values())[:most]
