"""Which samples wait for a label, in the order in which people should see them: what the console's queue is made of."""

from __future__ import annotations

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DrawItemRow, DrawRow, SampleRow
from data.sample_conditions import flagged, settled, spoken_for


def waiting_samples(catalog: Catalog, inspection: str, most: int) -> list[SampleRow]:
    """Samples that nobody has settled: flagged ones first, then draws, oldest first and by rank."""
    free = and_(SampleRow.inspection == inspection, ~settled())
    with catalog.reading() as session:
        pulled = select(SampleRow).where(free, flagged()).order_by(SampleRow.captured_at, SampleRow.sample_id)
        found = list(session.scalars(pulled.limit(most)))
        return found + _drawn(session, free, most - len(found))


def _drawn(session: Session, free: object, most: int) -> list[SampleRow]:
    if most < 1:
        return []
    query = (
        select(SampleRow)
        .join(DrawItemRow, DrawItemRow.sample_id == SampleRow.sample_id)
        .join(DrawRow, DrawRow.id == DrawItemRow.draw_id)
        .where(free, DrawItemRow.drawn, ~flagged(), ~spoken_for())  # type: ignore[arg-type]  # a condition
        .order_by(DrawRow.at, DrawRow.id, DrawItemRow.rank)
    )
    first: dict[str, SampleRow] = {}
    for row in session.scalars(query.limit(2 * most)):  # a sample may be in two draws
        first.setdefault(row.sample_id, row)
    return list(first.values())[:most]
