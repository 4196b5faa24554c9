"""Batches: samples of the queue of which the model says the same class, to be looked at as a grid and labelled at once.

1. A batch takes nothing that the queue would not give this person, and is leased like it (:mod:`data.queue`).
2. Looked at are the first `MOST` free samples of the queue: what is labelled stays near the queue's order, so that a
   draw's answered part grows without holes (:mod:`data.answered_draws`, rule 1).
3. The surest first: what does not belong is seen as the odd one out. A sample without an opinion is in no batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.inspections import inspection_in
from data.leases import lease, one_at_a_time
from data.queue import QueueItem, items_of, pick

MOST = 300


def suggested(classes: Sequence[str], probabilities: Sequence[float]) -> tuple[str, float] | None:
    """The class a model says, and how sure it is; None without an opinion.

    >>> suggested(["ok", "crack"], [0.2, 0.8])
    ('crack', 0.8)
    """
    pairs = list(zip(classes, probabilities, strict=False))
    if not pairs:
        return None
    name, probability = max(pairs, key=lambda pair: pair[1])
    return name, float(probability)


def batches(catalog: Catalog, inspection: str, who: str, *, at: datetime) -> dict[str, int]:
    """Class → how many free samples the model says it of, the most first (rules 1 and 2).

    Raises:
        InspectionError: Unknown inspection.
    """
    with catalog.reading() as session:
        inspection_in(session, inspection)
        counts: dict[str, int] = {}
        for name, _, _, _ in _looked_at(session, inspection, who, at):
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def batch(
    catalog: Catalog, inspection: str, who: str, of: str, limit: int, *, at: datetime, lease_seconds: float
) -> list[QueueItem]:
    """Samples of which the model says the class ``of``, leased to a person (rules 1 to 3).

    Raises:
        InspectionError: Unknown inspection.
    """
    until = at + timedelta(seconds=lease_seconds)
    with catalog.session() as session:
        inspection_in(session, inspection)
        one_at_a_time(session, inspection)
        found = [one for one in _looked_at(session, inspection, who, at) if one[0] == of]
        found.sort(key=lambda one: -one[1])  # stable: as the queue has them
        picked = [(row, why) for _, _, row, why in found[:limit]]
        lease(session, [row.sample_id for row, _ in picked], who, until)
        return items_of(session, picked, {}, until)


def _looked_at(session: Session, inspection: str, who: str, at: datetime) -> list[tuple[str, float, SampleRow, str]]:
    found = []
    for row, why in pick(session, inspection, who, MOST, at):
        says = suggested(row.classes, row.probabilities)
        if says is not None:
            found.append((*says, row, why))
    return found
