"""What a part is compared with: others of the same place, engine and shift; or a shift with others of its week.

1. Devices, stations, engines and times of day differ in many ways at once, so anything that differs between them goes
   with the defects that do. A variable is therefore tested *within* shifts: parts are compared with parts of the same
   place (the station and device that saw it, the device that recorded the context), engine and shift.
2. What hardly varies within a shift (a recipe, a lot) cannot be tested so. It is tested *between* shifts: each shift is
   one unit, compared with other shifts of the same place and week. Forty shifts are then n = 40, however many parts.
3. Which of the two is decided by the variable alone: within, if at least a tenth of its variance is within shifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.causes.join import Joined

WITHIN_SHARE = 0.1
SHIFTS_IN_WEEK = 21  # three shifts a day


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """Codes of each row.

    Attributes:
        within: int [n], place, engine and shift.
        shift: int [n], place and shift.
        week: int [n], place and week.
    """

    within: NDArray[np.int64]
    shift: NDArray[np.int64]
    week: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a test compares: parts, or shifts; and what each may be compared with.

    Attributes:
        scores: float [n, k].
        truth: float [n, targets].
        weight: float [n].
        strata: int [n].
    """

    scores: NDArray[np.float64]
    truth: NDArray[np.float64]
    weight: NDArray[np.float64]
    strata: NDArray[np.int64]


def strata_of(table: Joined, shift_seconds: float) -> Strata:
    """Codes for a table's rows."""
    shift = np.floor(table.at / shift_seconds).astype(np.int64)
    week = np.floor(table.at / (SHIFTS_IN_WEEK * shift_seconds)).astype(np.int64)
    return Strata(
        within=_combined(table.place, table.engine, shift),
        shift=_combined(table.place, shift),
        week=_combined(table.place, week),
    )


def share_within(scores: NDArray[np.float64], shift: NDArray[np.int64]) -> float:
    """Share of the variance that is within shifts, of the column that has most of it."""
    total = ((scores - scores.mean(axis=0)) ** 2).sum(axis=0)
    inside = ((scores - _means(scores, np.ones(len(scores)), shift)[shift]) ** 2).sum(axis=0)
    return float(np.max(np.divide(inside, total, out=np.zeros_like(total), where=total > 0)))


def between(rows: Rows, shift: NDArray[np.int64], week: NDArray[np.int64]) -> Rows:
    """Shifts as units: their weighted means, and the sum of their weights."""
    _, first, inverse = np.unique(shift, return_index=True, return_inverse=True)
    return Rows(
        scores=_means(rows.scores, rows.weight, inverse),
        truth=_means(rows.truth, rows.weight, inverse),
        weight=np.bincount(inverse, weights=rows.weight).astype(np.float64),
        strata=week[first],
    )


def _means(values: NDArray[np.float64], weight: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weighted mean of each column by code, [codes, columns]."""
    total = np.bincount(codes, weights=weight)
    sums = np.column_stack([np.bincount(codes, weights=weight * column) for column in values.T])
    return np.asarray(sums / np.maximum(total, np.finfo(float).tiny)[:, None])


def _combined(*codes: NDArray[np.int64]) -> NDArray[np.int64]:
    _, inverse = np.unique(np.column_stack(codes), axis=0, return_inverse=True)
    return np.asarray(inverse, dtype=np.int64).reshape(-1)
