"""Challenger minus champion on the same samples, with the uncertainty of that difference.

1. Both models are measured on the same resamples: what makes a sample easy or hard for both cancels.
2. The standard error is the bootstrap's, but never below what one sample of the smaller side weighs: twenty samples
   without a difference do not prove that there is none (the rule of three in another dress).
3. Bounds are Student's with as many degrees of freedom as the smaller side has effective samples, less one. The
   error level of a long series is far out in the tail, where quantiles of resamples are noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.bootstrap import resampled_counts
from training.evaluate import Measure, kish

#: A measure of both models under each of b weightings: float64 [b, n] -> champion [b], challenger [b].
Statistic = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Challenger minus champion; positive is better.

    Attributes:
        champion: The champion's measure.
        challenger: The challenger's.
        error: Standard error of the difference.
        effective: Effective samples on the smaller side (positives or negatives).
        n: Samples.
    """

    champion: float
    challenger: float
    error: float
    effective: float
    n: int

    @property
    def value(self) -> float:
        """The difference."""
        return self.challenger - self.champion

    def lower(self, alpha: float) -> float:
        """One-sided lower bound: the truth is below it with chance `alpha`."""
        return self.value - self._quantile(alpha) * self.error

    def upper(self, alpha: float) -> float:
        """One-sided upper bound."""
        return self.value + self._quantile(alpha) * self.error

    def measure(self, alpha: float) -> Measure:
        """As a measure whose ends are the two one-sided bounds."""
        return Measure(value=self.value, low=self.lower(alpha), high=self.upper(alpha), n=self.n)

    def times_more(self, distance: float, alpha: float) -> float:
        """How many times as many samples would show a `distance` from the limit, at this spread; at least 1."""
        return max(1.0, (self._quantile(alpha) * self.error / distance) ** 2) if distance > 0 else np.inf

    def _quantile(self, alpha: float) -> float:
        return float(stats.t.ppf(1 - alpha, max(1.0, self.effective - 1)))


def paired_differences(
    statistics: Mapping[str, tuple[Statistic, NDArray[np.bool_], bool]],
    weight: NDArray[np.float64],
    strata: NDArray[np.int64],
    group: NDArray[np.str_],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Difference]:
    """Compare two models in several measures on one series of resamples.

    Args:
        statistics: Name -> (statistic, bool [n] which samples are its positives, whether it is a ranking measure in
            [0, 1], to which rule 2's floor applies).
        weight: float64 [n].
        strata: int [n], for the resampling.
        group: str [n].
        resamples: How many.
        seed: Of the bootstrap.
    """
    once = {name: statistic(weight[None, :]) for name, (statistic, _, _) in statistics.items()}
    spread: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    for counts in resampled_counts(strata, resamples=resamples, seed=seed, groups=group):
        weights = counts * weight
        for name, (statistic, _, _) in statistics.items():
            champion, challenger = statistic(weights)
            spread[name].append(challenger - champion)
    return {
        name: _difference(once[name], np.concatenate(spread[name]), weight, positive, ranking)
        for name, (_, positive, ranking) in statistics.items()
    }


def _difference(
    once: tuple[NDArray[np.float64], NDArray[np.float64]],
    spread: NDArray[np.float64],
    weight: NDArray[np.float64],
    positive: NDArray[np.bool_],
    ranking: bool,
) -> Difference:
    effective = min(kish(weight[positive]), kish(weight[~positive]))
    least = 1 / max(1.0, effective) if ranking else 1e-6
    return Difference(
        champion=float(once[0][0]),
        challenger=float(once[1][0]),
        error=max(float(np.nanstd(spread)), least),
        effective=effective,
        n=len(weight),
    )
