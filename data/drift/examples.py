"""Frames from before and after a drift began, for people to look at.

1. Frames are chosen by 1/p at even steps through time: they show what the line saw, not what the sampler looked for.
2. Where a rate moved, they are frames that count in it, before as after, if there are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.drift.alarms import DriftAlarm
from data.drift.rates import ANOMALOUS

EXAMPLES = 4
_LOOKED_AT = 600  # the newest captured frames on either side


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A captured frame."""

    sample_id: str
    captured_at: datetime
    says: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"sample_id": self.sample_id, "captured_at": self.captured_at.isoformat(), "says": self.says}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Frames of the device from before the drift began and from then to the alarm, oldest first."""

    before: tuple[Example, ...]
    after: tuple[Example, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"before": [e.to_dict() for e in self.before], "after": [e.to_dict() for e in self.after]}


def examples_of(catalog: Catalog, alarm: DriftAlarm, *, count: int = EXAMPLES) -> Examples:
    """Choose frames that show an alarm."""
    began = alarm.began_at or alarm.window_at
    series = str(alarm.figures.get("series", ""))
    with catalog.reading() as session:
        before = _newest(session, alarm, SampleRow.captured_at < began)
        after = _newest(session, alarm, SampleRow.captured_at >= began, SampleRow.captured_at <= alarm.window_at)
        return Examples(
            before=_chosen([row for row in before if counts_in(row, series)] or before, count),
            after=_chosen([row for row in after if counts_in(row, series)] or after, count),
        )


def counts_in(row: SampleRow, series: str) -> bool:
    """Whether a frame counts in a rate of :func:`data.drift.rates.counts_of`; in none, every frame does."""
    if series == ANOMALOUS:
        return (row.anomaly or 0.0) >= 1.0
    kind, _, name = series.partition(" ")
    if kind == "verdict":
        return row.verdict == name
    return kind != "class" or _likeliest(row) == name


def evenly(p: NDArray[np.float64], count: int) -> list[int]:
    """Systematic sampling by 1/p: the places of at most `count` rows, in order (rule 1).

    >>> evenly(np.array([1.0, 1.0, 1.0, 1.0]), 2), evenly(np.array([0.1, 1.0, 1.0]), 1)
    ([1, 3], [0])
    """
    reach = np.cumsum(1.0 / p)
    if not len(reach):
        return []
    steps = reach[-1] * (np.arange(count) + 0.5) / count
    return sorted(set(np.minimum(np.searchsorted(reach, steps, side="right"), len(p) - 1).tolist()))


def _newest(session: Session, alarm: DriftAlarm, *conditions: Any) -> list[SampleRow]:
    query = (
        select(SampleRow)
        .where(SampleRow.inspection == alarm.inspection, SampleRow.device == alarm.device, SampleRow.counted)
        .where(*conditions)
        .order_by(SampleRow.captured_at.desc(), SampleRow.sequence.desc())
        .limit(_LOOKED_AT)
    )
    return list(session.scalars(query))[::-1]


def _chosen(rows: Sequence[SampleRow], count: int) -> tuple[Example, ...]:
    p = np.array([row.p1 or 1.0 for row in rows])
    return tuple(
        Example(sample_id=rows[i].sample_id, captured_at=rows[i].captured_at, says=_likeliest(rows[i]))
        for i in evenly(p, count)
    )


def _likeliest(row: SampleRow) -> str:
    if not row.classes or not row.probabilities:
        return ""
    return str(row.classes[int(np.argmax(row.probabilities))])
