"""What a part is compared with: others of the same place, engine and shift; or a shift with others of its week.

1. Devices, stations, engines and times of day differ in many ways at once, so anything that differs between them goes
   with the defects that do. A variable is therefore tested *within* shifts: parts are compared with parts of the same
   place (the station and device that saw it, the device that recorded the context), engine and shift.
2. What is set and stays so for many parts (a recipe, a lot, a crew) is tested by *stretches*: parts that follow each
   other with one value are one unit, compared with other stretches of the week. A recipe that was changed forty times
   has n = 40, however many parts. Shifts by the clock would cut across such stretches, and half a shift of one crew and
   half of another would look like hundreds of parts. If all devices have the value at the same time, a stretch is of
   all of them: what a bad night does to two devices is one thing, not two. If each has its own, it is of one place.
3. What drifts and hardly varies within a shift is tested *between* shifts of all devices: each is one unit. In rules 2
   and 3 the truths are first measured from the mean of their place and week, so that places stay out of it.
4. Which of the three is decided by the variable alone. Stretches: neighbours in time are equal far more often than
   any two parts (four fifths of the way to always). Within shifts: at least a tenth of the variance is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.causes.join import Joined

WITHIN_SHARE = 0.1
STEADY = 0.8
SHIFTS_IN_WEEK = 21  # three shifts a day


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """Codes of each row.

    Attributes:
        within: int [n], place, engine and shift.
        shift: int [n], place and shift.
        week: int [n], place and week.
        common_shift: int [n], shift.
        common_week: int [n], week.
        near: int [n], quarter of a shift.
    """

    within: NDArray[np.int64]
    shift: NDArray[np.int64]
    week: NDArray[np.int64]
    common_shift: NDArray[np.int64]
    common_week: NDArray[np.int64]
    near: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a test compares: parts, or shifts; and what each may be compared with.

    Attributes:
        scores: float [n, k].
        truth: float [n, targets].
        weight: float [n].
        strata: int [n].
        near: int [n], code of the stretch of time inside the stratum, where rows have one: a quarter of a shift.
    """

    scores: NDArray[np.float64]
    truth: NDArray[np.float64]
    weight: NDArray[np.float64]
    strata: NDArray[np.int64]
    near: NDArray[np.int64] | None = None


def strata_of(table: Joined, shift_seconds: float) -> Strata:
    """Codes for a table's rows."""
    shift = np.floor(table.at / shift_seconds).astype(np.int64)
    week = np.floor(table.at / (SHIFTS_IN_WEEK * shift_seconds)).astype(np.int64)
    return Strata(
        within=_combined(table.place, table.engine, shift),
        shift=_combined(table.place, shift),
        week=_combined(table.place, week),
        common_shift=_combined(shift),
        common_week=_combined(week),
        near=np.floor(4 * table.at / shift_seconds).astype(np.int64),
    )


def share_within(scores: NDArray[np.float64], shift: NDArray[np.int64]) -> float:
    """Share of the variance that is within shifts, of the column that has most of it."""
    total = ((scores - scores.mean(axis=0)) ** 2).sum(axis=0)
    inside = ((scores - _means(scores, np.ones(len(scores)), shift)[shift]) ** 2).sum(axis=0)
    return float(np.max(np.divide(inside, total, out=np.zeros_like(total), where=total > 0)))


def stretches(
    values: NDArray[np.int64], place: NDArray[np.int64], at: NDArray[np.float64]
) -> tuple[NDArray[np.int64], float]:
    """Code of the stretch each row is in, and how steady the values are: 0 as if shuffled, 1 if they never change.

    Args:
        values: Codes of the variable's values, [n].
        place: Codes, [n].
        at: Seconds, [n].
    """
    order = np.lexsort((at, place))
    same_place = place[order][1:] == place[order][:-1]
    same_value = values[order][1:] == values[order][:-1]
    codes = np.empty(len(values), dtype=np.int64)
    codes[order] = np.concatenate([[0], np.cumsum(~(same_place & same_value))])
    shares = np.bincount(values) / len(values)
    by_chance = float((shares**2).sum())
    seen = float(same_value[same_place].mean()) if same_place.any() else by_chance
    return codes, (seen - by_chance) / (1 - by_chance) if by_chance < 1 else 1.0


def between(rows: Rows, block: NDArray[np.int64], strata: NDArray[np.int64], place: NDArray[np.int64]) -> Rows:
    """Shifts or stretches as units: their weighted means, and the sum of their weights.

    Args:
        rows: Parts.
        block: Code of the unit that each part is of.
        strata: Code of what the unit may be compared with.
        place: Code of place and week, from whose means the truths are measured.
    """
    truth = rows.truth - _means(rows.truth, rows.weight, place)[place]
    _, first, inverse = np.unique(block, return_index=True, return_inverse=True)
    return Rows(
        scores=_means(rows.scores, rows.weight, inverse),
        truth=_means(truth, rows.weight, inverse),
        weight=np.bincount(inverse, weights=rows.weight).astype(np.float64),
        strata=strata[first],
    )


def _means(values: NDArray[np.float64], weight: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weighted mean of each column by code, [codes, columns]."""
    total = np.bincount(codes, weights=weight)
    sums = np.column_stack([np.bincount(codes, weights=weight * column) for column in values.T])
    return np.asarray(sums / np.maximum(total, np.finfo(float).tiny)[:, None])


def _combined(*codes: NDArray[np.int64]) -> NDArray[np.int64]:
    _, inverse = np.unique(np.column_stack(codes), axis=0, return_inverse=True)
    return np.asarray(inverse, dtype=np.int64).reshape(-1)
