"""Which captured samples are labelled for what they teach, beside those that are drawn (:mod:`data.label_gain`).

1. Chosen are leftovers: captured, offered to a draw before (or never to be offered: campaigns, spare), neither
   drawn nor settled. So every sample's chance in its draw is over before it can be chosen, and estimates stay exact.
2. Of the training side of the split alone: without a probability a held-out sample is neither trained on nor evidence.
3. Looked at are the newest `MOST` captured samples of the newest one's embedding space. What waits for its label or was
   flagged is known already: whatever will be said, it will have been said.
4. A group of near-duplicates is one unit, as in a draw: the first of it that was captured is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from data.catalog.models import DrawItemRow, SampleRow
from data.draws import Choice
from data.inspections import Inspection
from data.label_gain import choose_by_gain, doubt
from data.near_duplicates import group_near_duplicates
from data.opinions import anomalies_of, block_of, probabilities_of
from data.sample_conditions import drawn, flagged, settled
from data.split import Split

MOST = 1_500  # captured samples that are looked at: a second of work for fifty choices

Vector = NDArray[np.float32]


def captured(session: Session, inspection: str) -> list[tuple[SampleRow, bool, bool]]:
    """The newest captured samples in order of capture, each with whether it is known (rule 3) and may be chosen."""
    known: ColumnElement[bool] = or_(drawn(), settled(), flagged())
    offered = exists().where(DrawItemRow.sample_id == SampleRow.sample_id)
    may_be = or_(SampleRow.counted.is_(False), offered)
    query = (
        select(SampleRow, known, may_be)
        .where(SampleRow.inspection == inspection, SampleRow.origin == "field")
        .order_by(SampleRow.captured_at.desc(), SampleRow.sample_id.desc())
        .limit(MOST)
    )
    found = [
        (row, bool(is_known), bool(free) and not is_known and row.split == Split.TRAIN.value)
        for row, is_known, free in session.execute(query)
    ]
    return found[::-1]


def choose(
    found: Sequence[tuple[SampleRow, bool, bool]],
    vectors_of: Callable[[Sequence[SampleRow]], Sequence[Vector | None]],
    info: Inspection,
    n: int,
    *,
    near_duplicate: float,
    space_of: Callable[[SampleRow], str] = lambda _: "",
) -> tuple[Choice, ...]:
    """Choose up to n units, best first.

    Args:
        found: From `captured`.
        vectors_of: Embeddings of length 1, or None, of some rows.
        info: The inspection.
        n: How many.
        near_duplicate: Cosine distance up to which two are one unit.
        space_of: The embedding space of a row; those of one space can be compared.
    """
    vectors = list(vectors_of([row for row, _, _ in found]))
    spaces = [None if v is None else (space_of(row), len(v)) for (row, _, _), v in zip(found, vectors, strict=True)]
    newest = next((space for space in reversed(spaces) if space is not None), None)
    at = [i for i, space in enumerate(spaces) if space is not None and space == newest]
    if not at:
        return ()
    rows = [found[i][0] for i in at]
    here = [v for i in at if (v := vectors[i]) is not None]
    known = np.array([found[i][1] for i in at])
    free = np.array([found[i][2] for i in at])
    leaders = np.arange(len(rows))
    open_ = np.flatnonzero(free)
    groups = group_near_duplicates([here[i] for i in open_], [block_of(rows[i]) for i in open_], near_duplicate)
    leaders[open_] = open_[groups]
    members: dict[int, list[str]] = defaultdict(list)
    for i in open_.tolist():
        members[int(leaders[i])].append(rows[i].sample_id)
    doubts = doubt(probabilities_of(rows, info), anomalies_of(rows), info.classes)
    gained = choose_by_gain(
        np.stack(here),
        doubts,
        np.array([1.0 / row.p1 if row.p1 else 0.0 for row in rows]),
        known=known,
        choosable=free & (leaders == np.arange(len(rows))),
        n=n,
    )
    most = float(doubts.max())
    return tuple(
        Choice(
            sample_ids=tuple(members[i]),
            gain=gain,
            why={
                "signals": {
                    "uncertain": round(float(doubts[i]) / most, 4) if most > 0 else 0.0,
                    "unknown": round(unknown, 4),
                    "teaches": round(gain, 4),
                },
                "parts": {"teaches": 1.0},
            },
        )
        for i, gain, unknown in zip(gained.chosen.tolist(), gained.gain.tolist(), gained.unknown.tolist(), strict=True)
    )
