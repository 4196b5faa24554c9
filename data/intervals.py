"""Estimates from samples drawn with unequal probabilities: totals, rates, misses.

Sources: Horvitz & Thompson 1952; Duffield, Lund & Thorup 2007 (priority sampling: the covariances are 0, so
V = Σ y²(1−p)/p² is unbiased); Clopper & Pearson 1934, used at an effective n as in Korn & Graubard 1998;
Fay & Feuer 1997 (gamma interval for weighted sums of Poisson counts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CERTAIN = 1.0 - 1e-12  # p that is 1 but for rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its uncertainty and its n.

    Attributes:
        value: Point estimate; nan if nothing was labelled.
        low: Lower end of the interval.
        high: Upper end.
        n: Labelled samples that it rests on.
        population: Frames (or parts) that it speaks about.
        level: Coverage that the interval aims at.
    """

    value: float
    low: float
    high: float
    n: int
    population: int = 0
    level: float = 0.95

    def to_dict(self) -> dict[str, Any]:
        """As JSON: ``{"value", "low", "high", "n", "population", "level"}``; nan becomes null."""
        number = {
            name: None if np.isnan(getattr(self, name)) else float(getattr(self, name))
            for name in ("value", "low", "high")
        }
        return {**number, "n": self.n, "population": self.population, "level": self.level}


def horvitz_thompson(y: ArrayLike, p: ArrayLike) -> tuple[float, float]:
    """Total Σ y/p and its variance estimate Σ y²(1−p)/p².

    Args:
        y: Values of the sampled items, [n].
        p: Their inclusion probabilities in (0, 1], [n].

    Raises:
        ValueError: lengths differ, or a probability is out of bounds.

    >>> horvitz_thompson([1, 0, 1], [0.5, 0.1, 1.0])
    (3.0, 2.0)
    """
    values, probabilities = _pair(y, p)
    total = float(np.sum(values / probabilities))
    variance = float(np.sum(values**2 * (1 - probabilities) / probabilities**2))
    return total, variance


def clopper_pearson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Exact binomial interval; both arguments may be fractions (an effective sample).

    >>> low, high = clopper_pearson(0, 100)
    >>> low, round(high, 4)
    (0.0, 0.0362)
    """
    tail = (1 - level) / 2
    if n <= 0:
        return 0.0, 1.0
    low = 0.0 if successes <= 0 else float(stats.beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes >= n else float(stats.beta.ppf(1 - tail, successes + 1, n - successes))
    return low, high


def rate_interval(
    y: ArrayLike, p: ArrayLike, population: int, level: float = 0.95, *, frames: ArrayLike | None = None
) -> Estimate:
    """The share of a finite population, from a sample of it drawn with probabilities ``p``.

    1. Items with p = 1 are known, not estimated: their share enters as it is.
    2. The rest has the rate r and variance V (Horvitz–Thompson over N). The lower end is Clopper–Pearson at
       n_eff = r(1−r)/V.
    3. Clopper–Pearson's upper end adds one more success, of the weight V/r that the found ones have. Where a
       sampler looks for successes, found ones weigh little and those not found may weigh much; so the added one
       weighs at least as the k found ones and z² typical frames of the population do together, (k V/r + z² w̄)/(k + z²)
       with w̄ = Σ p⁻² / Σ p⁻¹ and the normal quantile z (as Agresti and Coull add z² trials). With none found that is
       a typical frame (three over n); with many it is what they say. (Fay and Feuer add the largest weight, which
       covers always and is several times as wide.)

    Args:
        y: 0 or 1 for each labelled item (or y/m for part rates), [n].
        p: Inclusion probability of each, [n].
        population: N, of which the sample was drawn.
        level: Coverage.
        frames: How many frames each item is, [n]; default one. Near-duplicates that were drawn together are one item
            (:mod:`data.cluster_sampling`); y then goes up to that number.

    Returns:
        Estimate whose ``n`` is the number of labelled items; nan in [0, 1] if there are none.
    """
    values, probabilities = _pair(y, p)
    sizes = np.ones_like(values) if frames is None else np.asarray(frames, dtype=np.float64)
    n = int(values.size)
    if n == 0 or population <= 0:
        return Estimate(value=float("nan"), low=0.0, high=1.0, n=n, population=population, level=level)
    certain = probabilities >= CERTAIN
    known = float(np.sum(values[certain])) / population
    unknown = max(0.0, 1.0 - float(np.sum(sizes[certain])) / population)  # share that is not known for certain
    total, variance = horvitz_thompson(values[~certain], probabilities[~certain])
    rest, spread = min(total / population, unknown), variance / population**2
    low = high = 0.0
    if unknown > 0:
        typical = typical_weight(probabilities, sizes) / population
        found = int(np.count_nonzero(values[~certain]))
        low, high = _beta_interval(rest, spread, found, typical, level)
    return Estimate(
        value=known + rest,
        low=known + min(low, rest),
        high=known + min(max(high, rest), unknown),
        n=n,
        population=population,
        level=level,
    )


def typical_weight(p: NDArray[np.float64], frames: NDArray[np.float64] | None = None) -> float:
    """w̄: the mean of 1/p over the frames that the labelled items stand for, estimated; 1 if none is uncertain.

    Args:
        p: Inclusion probabilities, [n]; items with p = 1 stand for themselves alone.
        frames: How many frames each item is, [n]; default one.

    >>> typical_weight(np.array([0.5, 0.01, 1.0])), typical_weight(np.array([1.0]))
    (98.07843137254902, 1.0)
    """
    uncertain = p < CERTAIN
    weights = (1.0 if frames is None else frames[uncertain]) / p[uncertain]
    return float(np.sum(weights**2) / np.sum(weights)) if weights.size else 1.0


def _beta_interval(rate: float, variance: float, found: int, typical: float, level: float) -> tuple[float, float]:
    """Rules 2 and 3 of :func:`rate_interval`; rate, variance and weight as shares of the population."""
    tail = (1 - level) / 2
    low = 0.0
    if variance > 0 and rate < 1:
        n_effective = rate * (1 - rate) / variance
        low = float(stats.beta.ppf(tail, rate * n_effective, n_effective - rate * n_effective + 1))
    usual = variance / rate if rate > 0 else 0.0
    prior = float(stats.norm.ppf(tail)) ** 2
    added = max(usual, (found * usual + prior * typical) / (found + prior))
    upper_rate, upper_variance = rate + added, variance + added**2
    if upper_rate >= 1:
        return low, 1.0
    n_effective = upper_rate * (1 - upper_rate) / upper_variance
    return low, float(stats.beta.ppf(1 - tail, upper_rate * n_effective, (1 - upper_rate) * n_effective))


def gamma_interval(y: ArrayLike, p: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval of a total of rare events, Σ y/p, each seen with probability p (Fay & Feuer 1997).

    Args:
        y: Counts of the sampled items, mostly 0, [n].
        p: Their inclusion probabilities, [n].
        level: Coverage.
    """
    values, probabilities = _pair(y, p)
    tail = (1 - level) / 2
    if values.size == 0:
        return 0.0, float("inf")
    weights = 1 / probabilities
    total, variance = float(np.sum(weights * values)), float(np.sum(weights**2 * values))
    largest = float(weights.max())
    low = 0.0
    if total > 0:
        low = float(stats.gamma.ppf(tail, total**2 / variance, scale=variance / total))
    up_total, up_variance = total + largest, variance + largest**2
    high = float(stats.gamma.ppf(1 - tail, up_total**2 / up_variance, scale=up_variance / up_total))
    return low, high


def recall_interval(
    caught: float, missed_y: ArrayLike, missed_p: ArrayLike, level: float = 0.95
) -> tuple[float, float, float]:
    """Recall TP/(TP + FN) with FN estimated from labelled frames that passed.

    Args:
        caught: TP, defects that the engine stopped.
        missed_y: 1 for each labelled passed frame that is a defect, [n].
        missed_p: Their inclusion probabilities, [n].
        level: Coverage.

    Returns:
        (value, low, high); low = TP/(TP + FN's upper end).
    """
    total, _ = horvitz_thompson(missed_y, missed_p)
    low, high = gamma_interval(missed_y, missed_p, level)

    def recall(missed: float) -> float:
        return caught / (caught + missed) if caught + missed > 0 else float("nan")

    return recall(total), recall(high), recall(low)


def miss_statement(found: int, n: int) -> str:
    """What may be said of misses among ``n`` frames that passed and were checked.

    >>> miss_statement(0, 300)
    'no miss found in 300 checked: fewer than 1 % of passed frames missed (95 %)'
    """
    if n == 0:
        return "no passed frame was checked yet"
    if found == 0 and n <= 3:
        return f"no miss found in {n} checked: too few to say how many are missed"
    if found == 0:
        return f"no miss found in {n} checked: fewer than {300 / n:.2g} % of passed frames missed (95 %)"
    return f"{found} of {n} passed frames checked were misses"


def _pair(y: ArrayLike, p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values, probabilities = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if values.shape != probabilities.shape or values.ndim != 1:
        raise ValueError(f"expected one probability per value, found {values.shape} and {probabilities.shape}")
    if probabilities.size and not ((probabilities > 0).all() and (probabilities <= 1).all()):
        raise ValueError("inclusion probabilities must be in (0, 1]")
    return values, probabilities
