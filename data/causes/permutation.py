"""Weighted permutation tests within strata, right under informative sampling.

The question: within a stratum, does a part's truth y go with its score s? Parts are kept and labelled with unequal
probabilities, which depend on y (a sampler looks for defects) and may depend on s.

1. Statistic: T = Σ_h (1/n_h) Σ_{i<j in h} w_i w_j (y_i − y_j)(s_i − s_j), a sum over pairs of parts of one stratum.
   Each pair has the inverse of its own probability, so T's expectation is that of the whole population, 0 if y and s
   are independent there, however few parts of a stratum were drawn. (The weighted covariance, which divides by the sum
   of the weights drawn, is biased in small strata when the weights depend on both.)
2. It equals Σ e_i s_i with e_i = (W_h/n_h) w_i (y_i − ȳ_h), and its variance is about V = Σ e_i² (s_i − s̄_h)², as
   linearised for unequal probabilities (Binder 1983; Korn & Graubard 1999).
3. The test: t² = T²/(V + λV₀) against its own values when (w, y) are dealt anew to the scores within strata. If the
   weights do not depend on the scores, that is exact, however few the defects. If they do, T/√V still has the same
   limit in both, for it is studentised (Janssen 1997; Chung & Romano 2013). V₀ is the variance under dealing, the same
   for every deal: a tenth of it keeps t from exploding where few parts carry all the weight.
4. A variable with several columns has the largest t² of them; so do its deals: trying several costs what it must.
5. Most variables need few deals: one that is exceeded six times is settled (Besag & Clifford 1991).
6. T and V are sums over strata. So each stratum is dealt 250 times, once for all variables, and a deal of the whole is
   one of these, or the truth's own order, of each stratum at random. Under the null hypothesis the truth's own is any
   of them, so the test stays exact (Hemerik & Goeman 2018), and thousands of deals cost what 250 did.
7. Within a shift, what drifts goes with what drifts. So the variance of what was seen is at least that of sums over
   quarters of a shift, which is larger where both the truth and the scores drift (as for clustered samples). Quarters
   are the clock's, across strata: what drifts does so on all devices at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from data.causes.strata import Rows

_STEADY = 0.1  # λ: changes the variance by a tenth at most where weights depend on scores
_SETTLED = 6  # exceedances after which a p-value is known well enough
_STAGES = (200, 600, 2_000, 6_000)
_POOL = 250  # deals of each stratum; with three strata they make sixteen million
_FEWEST_STRATA = 3
_POOLED = 10_000_000  # numbers in the pools of the variables that are tested at a time, twice: 160 MB
_LEAST_COLUMNS = 4
_FEWEST_QUARTERS = 12  # a variance over fewer is a guess
_CELLS = 1_000_000  # numbers held at a time, 8 MB
_TIE = 1 - 1e-9  # equal but for rounding
_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What came of a test.

    Attributes:
        p: The p-value.
        column: Which column has the largest statistic.
        sign: Whether the target goes up (1) or down (-1) with it.
        t: That statistic, standard errors.
    """

    p: float
    column: int
    sign: int
    t: float


@dataclass(frozen=True, slots=True)
class _Stratum:
    error: _Array  # e, [n_h]
    weight: _Array
    scores: _Array  # centred, [n_h, k]
    near: NDArray[np.int64] | None

    def of(self, columns: NDArray[np.int64]) -> _Stratum:
        """With some columns alone."""
        return _Stratum(self.error, self.weight, np.ascontiguousarray(self.scores[:, columns]), None)


@dataclass(frozen=True, slots=True)
class _Pool:
    """Deals of one stratum, its own order first: their part of T and of V, [deals, k]."""

    total: _Array
    variance: _Array

    def of(self, columns: NDArray[np.int64]) -> _Pool:
        """With some columns alone."""
        return _Pool(np.ascontiguousarray(self.total[:, columns]), np.ascontiguousarray(self.variance[:, columns]))


def comparable(truth: _Array, strata: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows are in a stratum in which the truth differs; the others say nothing."""
    codes, inverse = np.unique(strata, return_inverse=True)
    low, high = np.full(len(codes), np.inf), np.full(len(codes), -np.inf)
    np.minimum.at(low, inverse, truth)
    np.maximum.at(high, inverse, truth)
    return np.asarray((high > low)[inverse])


def permutation_tests(
    rows: Rows, target: int, widths: Sequence[int], *, random: np.random.Generator, most: int
) -> list[Tested]:
    """Test variables that share their rows.

    Args:
        rows: With the columns of all variables side by side.
        target: Column of the truth.
        widths: How many columns each variable has; they add up to k.
        random: Deals.
        most: Deals at most: the smallest p-value is 1/(most + 1).
    """
    count = len(np.unique(rows.strata[comparable(rows.truth[:, target], rows.strata)]))
    most_columns = max(_LEAST_COLUMNS, _POOLED // (max(1, count) * (_POOL + 1)))
    tested: list[Tested] = []
    start = first = 0
    while start < len(widths):
        end = start + 1
        while end < len(widths) and sum(widths[start : end + 1]) <= most_columns:
            end += 1
        columns = sum(widths[start:end])
        some = replace(rows, scores=rows.scores[:, first : first + columns])
        tested += _tests(_strata(some, target), widths[start:end], random, most)
        start, first = end, first + columns
    return tested


def _tests(strata: Sequence[_Stratum], widths: Sequence[int], random: np.random.Generator, most: int) -> list[Tested]:
    """The tests of some variables, few enough for the memory."""
    firsts = np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(np.int64)
    t, columns, signs = _observed(strata, sum(widths), firsts, widths)
    exceeded = np.zeros(len(widths), dtype=np.int64)
    deals = np.zeros(len(widths), dtype=np.int64)
    alive = np.flatnonzero(t > 0)
    pools = [_pool(h, _POOL, random) for h in strata] if len(strata) >= _FEWEST_STRATA and alive.size else []
    under_dealing = _under_dealing(strata, sum(widths))
    done = 0
    for stage in (*(stage for stage in _STAGES if stage < most), most):
        if not alive.size:
            break
        chosen = np.concatenate([np.arange(firsts[v], firsts[v] + widths[v]) for v in alive.tolist()])
        parts = [h.of(chosen) for h in strata]
        drawn = [pool.of(chosen) for pool in pools]
        edges = np.concatenate([[0], np.cumsum([widths[v] for v in alive.tolist()])[:-1]]).astype(np.int64)
        longest = max(len(chosen), *(len(h.weight) for h in parts))
        while done < stage:
            count = min(stage - done, max(1, _CELLS // longest))
            sums = _from_pools(drawn, count, random) if drawn else _dealt(parts, len(chosen), count, random)
            dealt = np.maximum.reduceat(_studentised(*sums, under_dealing[chosen]), edges, axis=1)
            exceeded[alive] += (dealt >= t[alive] * _TIE).sum(axis=0)
            done += count
        deals[alive] = stage
        alive = alive[exceeded[alive] < _SETTLED]
    return [
        Tested(
            p=1.0 if t[v] <= 0 else float((exceeded[v] + 1) / (deals[v] + 1)),
            column=int(columns[v]),
            sign=int(signs[v]),
            t=float(np.sqrt(t[v])),
        )
        for v in range(len(widths))
    ]


def at_first_sight(rows: Rows, target: int, widths: Sequence[int]) -> list[Tested]:
    """The same statistic by its normal limit: quick, and good enough for what is not relied upon."""
    strata = _strata(rows, target)
    firsts = np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(np.int64)
    t, columns, signs = _observed(strata, rows.scores.shape[1], firsts, widths)
    p = np.minimum(1.0, np.asarray(widths) * 2 * stats.norm.sf(np.sqrt(t)))
    return [
        Tested(p=float(p[v]), column=int(columns[v]), sign=int(signs[v]), t=float(np.sqrt(t[v])))
        for v in range(len(widths))
    ]


def _strata(rows: Rows, target: int) -> list[_Stratum]:
    y = rows.truth[:, target]
    told = np.flatnonzero(comparable(y, rows.strata))
    if not told.size:
        return []
    order = told[np.argsort(rows.strata[told], kind="stable")]
    codes = rows.strata[order]
    edges = np.flatnonzero(np.diff(codes)) + 1
    weight = rows.weight / rows.weight[told].mean()
    strata = []
    for members in np.split(order, edges):
        w, scores = weight[members], rows.scores[members]
        error = w.mean() * w * (y[members] - np.average(y[members], weights=w))
        strata.append(
            _Stratum(error, w, scores - scores.mean(axis=0), None if rows.near is None else rows.near[members])
        )
    return strata


def _observed(
    strata: Sequence[_Stratum], columns: int, firsts: NDArray[np.int64], widths: Sequence[int]
) -> tuple[_Array, NDArray[np.int64], NDArray[np.int64]]:
    """The largest t² of each variable, its column inside the variable, and its sign."""
    total = np.zeros(columns)
    for h in strata:
        total += h.error @ h.scores
    variance = sum((_variance(h, h.error[None, :], h.weight[None, :]) for h in strata), np.zeros((1, columns)))
    variance = np.maximum(variance, _nearby(strata, columns))
    squared = _studentised(total[None, :], variance, _under_dealing(strata, columns))[0]
    best = np.array([int(np.argmax(squared[f : f + k])) for f, k in zip(firsts, widths, strict=True)], dtype=np.int64)
    return squared[firsts + best], best, np.sign(total[firsts + best]).astype(np.int64)


def _pool(h: _Stratum, count: int, random: np.random.Generator) -> _Pool:
    order = _orders(len(h.weight), count, random)
    order[0] = np.arange(len(h.weight))
    error = h.error[order]
    return _Pool(error @ h.scores, _variance(h, error, h.weight[order]))


def _from_pools(pools: Sequence[_Pool], count: int, random: np.random.Generator) -> tuple[_Array, _Array]:
    """T and V of `count` deals, [count, k], by rule 6."""
    chosen = random.integers(0, len(pools[0].total), size=(len(pools), count))
    total, variance = np.zeros((count, pools[0].total.shape[1])), np.zeros((count, pools[0].total.shape[1]))
    for pool, rows in zip(pools, chosen, strict=True):
        total += pool.total[rows]
        variance += pool.variance[rows]
    return total, variance


def _dealt(strata: Sequence[_Stratum], columns: int, count: int, random: np.random.Generator) -> tuple[_Array, _Array]:
    """T and V of `count` deals of whole rows, [count, columns]."""
    total, variance = np.zeros((count, columns)), np.zeros((count, columns))
    for h in strata:
        order = _orders(len(h.weight), count, random)
        error = h.error[order]
        total += error @ h.scores
        variance += _variance(h, error, h.weight[order])
    return total, variance


def _orders(n: int, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    return random.permuted(np.broadcast_to(np.arange(n), (count, n)), axis=1)


def _variance(h: _Stratum, error: _Array, weight: _Array) -> _Array:
    """V of one stratum, for errors and weights [deals, n_h]."""
    centre = weight @ h.scores / h.weight.sum()
    squares = error**2
    return np.asarray(
        squares @ h.scores**2 - 2 * centre * (squares @ h.scores) + centre**2 * squares.sum(axis=1, keepdims=True)
    )


def _nearby(strata: Sequence[_Stratum], columns: int) -> _Array:
    """V if parts that are near in time go together (rule 7), [1, k]; 0 where too little is known of time."""
    timed = [(h, h.near) for h in strata if h.near is not None]
    if not timed:
        return np.zeros((1, columns))
    codes, quarter = np.unique(np.concatenate([near for _, near in timed]), return_inverse=True)
    if len(codes) < _FEWEST_QUARTERS:
        return np.zeros((1, columns))
    of_quarters = np.zeros((len(codes), columns))
    edges = np.cumsum([len(near) for _, near in timed])[:-1]
    for (h, _), rows in zip(timed, np.split(quarter, edges), strict=True):
        np.add.at(of_quarters, rows, h.error[:, None] * (h.scores - h.weight @ h.scores / h.weight.sum()))
    # From their mean: T itself, spread over the quarters, is no variance.
    return np.asarray(len(codes) * of_quarters.var(axis=0, ddof=1, keepdims=True))


def _under_dealing(strata: Sequence[_Stratum], columns: int) -> _Array:
    """V₀, the exact variance of T when truths are dealt at random within strata."""
    variance = np.zeros(columns)
    for h in strata:
        variance += (h.error**2).sum() * (h.scores**2).sum(axis=0) / (len(h.weight) - 1)
    return variance


def _studentised(total: _Array, variance: _Array, under_dealing: _Array) -> _Array:
    scale = np.maximum(variance, 0.0) + _STEADY * under_dealing
    return np.divide(total**2, scale, out=np.zeros_like(total), where=scale > 1e-18)
