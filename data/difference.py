"""Totals from few labels and from what is known of ALL frames: the difference estimator with power tuning.

A frame i has the truth y, 0 or 1, and a score m that is known of all frames (by its totals M over groups of them). The
labelled ones were drawn with probabilities p. Then

    T̂ = Σ y/p + Σ_g λ_g (M_g − Σ_g m/p)

is unbiased for any fixed λ, however wrong the score is: the difference estimator (Särndal, Swensson & Wretman 1992,
§6.3), which with equal p is prediction-powered inference (Angelopoulos et al. 2023).

1. λ_g makes the variance least (power tuning: Angelopoulos, Duchi & Zrnic 2023): V = Σ (y − λm)²(1−p)/p² is least at
   λ = Σ a m y / Σ a m², a = (1−p)/p². λ = 0 is Horvitz–Thompson: in the long run it is never worse. Groups (the
   engine's verdicts) have their own: where a score is wrong by a factor, λ sets it right. λm stays within 1.
2. λ comes from the same few labels. It is shrunk by the share of it that is its own jackknife variance (nothing is
   left where one label makes it), and a residual e = y − λm is taken with the λ of the OTHER labels.
3. The interval is not Wald's. Residuals above 0 (defects that the score does not explain) and below (frames it was
   wrong to suspect) are two weighted sums of rare events. Each has the gamma interval for such sums (Fay & Feuer 1997;
   mid-p: Fay & Kim 2017), and they are put together as independent sums are (MOVER: Zou & Donner 2008): upwards by
   √((upper − A)² + (B − lower)²), downwards by √((A − lower)² + (upper − B)²).
4. The event that a gamma interval's upper end adds weighs as the k found ones and z² of those unseen do together. An
   unseen one weighs what a typical frame does; see :func:`presumed` for misses.
5. What has p = 1 is known: it has no part in the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from data.intervals import CERTAIN, typical_weight

Floats = NDArray[np.float64]

_NOTHING = 1e-9  # a coefficient below it changes no figure
PRESUMED_SHARE = 1.0  # misses that nobody found, at most, for each defect that was stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Auxiliary:
    """What is known of all frames.

    Attributes:
        score: m of each labelled frame, in [0, 1], 0 where it is not told, [n].
        group: Index of its group, [n].
        totals: M of each group over all frames that are told, [G].
    """

    score: Floats
    group: NDArray[np.int64]
    totals: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """An estimated total and how far its interval reaches.

    Attributes:
        value: T̂; unbiased, so it may lie outside of what is possible.
        below: From it down to the lower end.
        above: From it up to the upper end.
        found: Defects among the labelled frames.
        variance: Estimate of T̂'s variance.
        coefficients: λ of each group.
    """

    value: float
    below: float
    above: float
    found: int
    variance: float
    coefficients: tuple[float, ...] = ()

    @property
    def low(self) -> float:
        """Lower end; what was found is there."""
        return max(self.value - self.below, float(self.found))

    @property
    def high(self) -> float:
        """Upper end."""
        return max(self.value + self.above, float(self.found))


def estimate_total(
    y: ArrayLike,
    p: ArrayLike,
    *,
    size: float,
    known: Auxiliary | None = None,
    unseen: float | None = None,
    level: float = 0.95,
    careful: bool = False,
) -> Total:
    """The number of defects among some frames, from the labelled ones of them.

    Args:
        y: 0 or 1, [n].
        p: Inclusion probabilities in (0, 1], [n].
        size: How many frames these are, labelled or not.
        known: What is known of all of them; None for Horvitz–Thompson.
        unseen: Weight of a defect that no label found (rule 4); default that of a typical frame.
        level: Coverage.
        careful: Take the gamma intervals' own ends instead of their mid-p: they cover at least the level, as
            Clopper and Pearson's do.

    Raises:
        ValueError: lengths differ, or a probability is out of bounds.

    >>> total = estimate_total([1, 0, 0, 0], [0.1] * 4, size=40)
    >>> round(total.value, 9), total.low < 10 < total.high
    (10.0, True)
    """
    values, chances = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if values.shape != chances.shape or values.ndim != 1:
        raise ValueError(f"expected one probability per value, found {values.shape} and {chances.shape}")
    if chances.size and not ((chances > 0).all() and (chances <= 1).all()):
        raise ValueError("inclusion probabilities must be in (0, 1]")
    if chances.size == 0:
        return Total(value=0.0, below=0.0, above=max(0.0, size), found=0, variance=0.0)
    total, explained, coefficients = float(np.sum(values / chances)), np.zeros_like(values), []
    for group in range(len(known.totals) if known is not None else 0):
        assert known is not None
        here = known.group == group
        tuned, of_others = power_tuning(values[here], chances[here], known.score[here])
        coefficients.append(tuned)
        total += tuned * (float(known.totals[group]) - float(np.sum(known.score[here] / chances[here])))
        explained[here] = of_others * known.score[here]
    uncertain = chances < CERTAIN
    below, above, variance = 0.0, 0.0, 0.0
    if size > np.count_nonzero(~uncertain) + 1e-9:
        below, above, variance = _reach(
            values[uncertain], explained[uncertain], chances[uncertain], unseen, (1 - level) / 2, careful
        )
    return Total(
        value=total,
        below=below,
        above=above,
        found=int(np.count_nonzero(values)),
        variance=variance,
        coefficients=tuple(coefficients),
    )


def power_tuning(y: Floats, p: Floats, m: Floats) -> tuple[float, Floats]:
    """λ of a group, and for each label the λ that the others give (rules 1 and 2).

    >>> power_tuning(np.ones(3), np.full(3, 0.5), np.full(3, 0.8))[0]  # each frame was a defect: m is too low by 0.8
    1.25
    """
    a = (1 - p) / p**2
    products, squares = a * m * y, a * m * m
    if not squares.sum() > 0:
        return 0.0, np.zeros_like(y)
    most = 1.0 / float(m.max())
    tuned = min(most, float(products.sum() / squares.sum()))
    rest = squares.sum() - squares
    enough = rest > 1e-9 * squares.sum()
    others = np.where(enough, (products.sum() - products) / np.where(enough, rest, 1.0), 0.0)
    others = np.minimum(most, others)
    if tuned < _NOTHING:
        return 0.0, np.zeros_like(y)
    kept = max(0.0, 1.0 - float(np.sum(((others - tuned) / tuned) ** 2)))
    return tuned * kept, others * kept


def effective_n(p: Floats) -> float:
    """How many frames drawn alike say as much (Kish 1965); infinite if all are known for certain."""
    uncertain = p[p < CERTAIN]
    if not uncertain.size:
        return float("inf")
    return float(np.sum(1 / p)) / typical_weight(p)


def presumed(stopped: Total, passed_p: Floats, level: float = 0.95) -> float:
    """The weight of a missed defect that no label found, for the interval of a rate.

    No sample rules out defects that the engine passes and that nobody happened to be shown: among n passed frames
    checked in vain up to three in n may be defects, often many times what was found. A rate's interval presumes that
    there are fewer: where the engine has stopped k defects that labels confirm, the misses that no label found are
    taken to be at most as many (`PRESUMED_SHARE`: a recall of one half). With none found nothing is presumed; in
    between k speaks against z². Recall itself is never estimated in this way.

    Args:
        stopped: Of the frames that were not passed.
        passed_p: Inclusion probabilities of the labelled passed frames.
        level: Coverage.
    """
    typical = typical_weight(passed_p)
    none_found = -np.log(1 - level)  # the mid-p upper end of an event that was not seen, in its weights: about 3
    bound = min(typical, PRESUMED_SHARE * max(stopped.value, float(stopped.found)) / none_found)
    z2 = _z_squared((1 - level) / 2)
    return float((stopped.found * bound + z2 * typical) / (stopped.found + z2))


def sum_of(parts: Sequence[Total]) -> Total:
    """The total over parts that were sampled independently (MOVER)."""
    return Total(
        value=sum(part.value for part in parts),
        below=float(np.hypot.reduce([part.below for part in parts])),
        above=float(np.hypot.reduce([part.above for part in parts])),
        found=sum(part.found for part in parts),
        variance=sum(part.variance for part in parts),
        coefficients=tuple(c for part in parts for c in part.coefficients),
    )


def share_of(part: Total, rest: Total) -> tuple[float, float, float]:
    """The share part/(part + rest) with its ends: MOVER for a ratio (Donner & Zou 2012), as Fieller's.

    The odds o = part/rest are within the interval as long as o·rest − part may be 0.

    >>> exact = [Total(value=v, below=0.0, above=0.0, found=1, variance=0.0) for v in (3.0, 1.0)]
    >>> share_of(*exact)
    (0.75, 0.75, 0.75)
    """
    a, b = max(part.value, float(part.found)), max(rest.value, float(rest.found))
    if a + b <= 0:
        return float("nan"), 0.0, 1.0
    value = a / (a + b)
    low = _odds(a, a - min(a, part.low), b, max(0.0, rest.high - b))
    # the upper odds of part/rest are one over the lower odds of rest/part
    high = _odds(b, b - min(b, rest.low), a, max(0.0, part.high - a))
    return value, min(value, low / (1 + low)), max(value, 1 / (1 + high))


def _odds(a: float, a_below: float, b: float, b_above: float) -> float:
    """The least o with o·b − a + √((o·b_above)² + a_below²) ≥ 0."""
    if a - a_below <= 0:
        return 0.0

    def reaches(o: float) -> float:
        return o * b - a + float(np.hypot(o * b_above, a_below))

    if b + b_above <= 0:
        return float("inf")
    most = 1.0
    while reaches(most) < 0:
        most *= 4.0
    return float(optimize.brentq(reaches, 0.0, most, xtol=1e-12, rtol=1e-10))


def _reach(
    y: Floats, explained: Floats, p: Floats, unseen: float | None, tail: float, careful: bool
) -> tuple[float, float, float]:
    """How far the interval reaches below and above, and the variance (rules 3 and 4)."""
    variances = (1 - p) / p**2
    sums = []
    for here, size, weight in (
        (y > 0, y - explained, typical_weight(p) if unseen is None else unseen),
        (y <= 0, explained, _expected_weight(explained / p)),
    ):
        total, variance = float(np.sum(size[here] / p[here])), float(np.sum(size[here] ** 2 * variances[here]))
        usual, found = variance / total if total > 0 else 0.0, int(np.count_nonzero(size[here]))
        z2 = _z_squared(tail)
        added = max(usual, (found * usual + z2 * weight) / (found + z2))
        low, high = weighted_events(total, variance, added, tail, careful=careful)
        sums.append((total - low, high - total, variance))
    (down, up, first), (other_down, other_up, second) = sums
    return float(np.hypot(down, other_up)), float(np.hypot(up, other_down)), first + second


def weighted_events(
    total: float, variance: float, added: float, tail: float, *, careful: bool = False
) -> tuple[float, float]:
    """The gamma interval of a weighted sum of rare events.

    Args:
        total: Of the found ones.
        variance: Estimate of the total's variance.
        added: Weight of one more event.
        tail: What each side may miss, such as 0.025.
        careful: Fay and Feuer's; else its mid-p.

    >>> low, high = weighted_events(4.0, 4.0, 1.0, 0.025, careful=True)  # Poisson's exact interval for four events
    >>> round(low, 2), round(high, 2)
    (1.09, 10.24)
    """
    if added <= 0:
        return total, total
    if total <= 0 or variance <= 0:
        return total, total + _gamma(1 - tail if careful else 1 - 2 * tail, 1.0, added)
    lower = (total**2 / variance, variance / total)
    upper = ((total + added) ** 2 / (variance + added**2), (variance + added**2) / (total + added))
    low, high = _gamma(tail, *lower), _gamma(1 - tail, *upper)
    if careful:
        return low, high

    def below(x: float) -> float:  # the confidence distribution half-way between the two
        return float(0.5 * special.gammainc(lower[0], x / lower[1]) + 0.5 * special.gammainc(upper[0], x / upper[1]))

    return (
        _root(lambda x: below(x) - tail, low, _gamma(tail, *upper)),
        _root(lambda x: below(x) - (1 - tail), _gamma(1 - tail, *lower), high),
    )


def _root(function: Callable[[float], float], one: float, other: float) -> float:
    low, high = min(one, other), max(one, other)
    if function(low) >= 0 or function(high) <= 0:  # they are equal but for rounding
        return low if function(low) >= 0 else high
    return float(optimize.brentq(function, low, high))


def _gamma(q: float, shape: float, scale: float) -> float:
    return float(special.gammaincinv(shape, q) * scale)


def _expected_weight(weights: Floats) -> float:
    """Of an event that happens to each frame in proportion to its size: the mean weight, by size."""
    total = float(np.sum(weights))
    return float(np.sum(weights**2)) / total if total > 0 else 0.0


@cache
def _z_squared(tail: float) -> float:
    return float(stats.norm.ppf(tail)) ** 2
