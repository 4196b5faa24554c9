"""Challenger minus champion on the same samples, with the uncertainty of that difference.

1. Both models are measured on the same resamples: what makes a sample easy or hard for both cancels.
2. The standard error is the bootstrap's, but never below what one sample of the smaller side weighs: twenty samples
   without a difference do not prove that there is none (the rule of three in another dress).
3. Bounds are Student's with as many degrees of freedom as the smaller side has effective samples, less one. The
   error level of a long series is far out in the tail, where quantiles of resamples are noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from training.bootstrap import resampled_counts
from training.evaluate import Measure, kish

#: A measure of both models under each of b weightings: float64 [b, n] -> champion [b], challenger [b].
Statistic = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
_LEAST_ERROR = 1e-6  # of a mean; keeps bounds finite where both models say the same


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """A measure that both models are compared in.

    Attributes:
        statistic: The measure.
        positive: bool [n], which samples are its positives.
        ranking: Whether it is a share in [0, 1], to which rule 2's floor applies.
        kept: bool [n], which samples it is taken over; None: all.
    """

    statistic: Statistic
    positive: NDArray[np.bool_]
    ranking: bool = True
    kept: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Challenger minus champion; positive is better.

    Attributes:
        champion: The champion's measure.
        challenger: The challenger's.
        error: Standard error of the difference.
        effective: Effective samples on the smaller side (positives or negatives).
        n: Samples.
        floor: What the error is at least (rule 2).
        deviations: float64 [resamples], of the resampled differences from their mean.
    """

    champion: float
    challenger: float
    error: float
    effective: float
    n: int
    floor: float = _LEAST_ERROR
    deviations: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)

    @property
    def value(self) -> float:
        """The difference."""
        return self.challenger - self.champion

    def lower(self, alpha: float) -> float:
        """One-sided lower bound: the truth is below it with chance `alpha`."""
        return self.value - quantile(alpha, self.effective) * self.error

    def upper(self, alpha: float) -> float:
        """One-sided upper bound."""
        return self.value + quantile(alpha, self.effective) * self.error

    def measure(self, alpha: float) -> Measure:
        """As a measure whose ends are the two one-sided bounds."""
        return Measure(value=self.value, low=self.lower(alpha), high=self.upper(alpha), n=self.n)

    def times_more(self, distance: float, alpha: float) -> float:
        """How many times as many samples would show a `distance` from the limit, at this spread; at least 1."""
        return max(1.0, (quantile(alpha, self.effective) * self.error / distance) ** 2) if distance > 0 else np.inf


def quantile(alpha: float, effective: float) -> float:
    """How many standard errors a one-sided bound at level `alpha` is away, with so many effective samples."""
    return float(special.stdtrit(max(1.0, effective - 1), 1 - alpha))


def paired_differences(
    measures: Mapping[str, Compared],
    weight: NDArray[np.float64],
    strata: NDArray[np.int64],
    group: NDArray[np.str_],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Difference]:
    """Compare two models in several measures on one series of resamples.

    Args:
        measures: Name -> measure.
        weight: float64 [n].
        strata: int [n], for the resampling.
        group: str [n].
        resamples: How many.
        seed: Of the bootstrap.
    """
    weights_of = {
        name: weight if one.kept is None else np.where(one.kept, weight, 0.0) for name, one in measures.items()
    }
    once = {name: one.statistic(weights_of[name][None, :]) for name, one in measures.items()}
    spread: dict[str, list[NDArray[np.float64]]] = {name: [] for name in measures}
    for counts in resampled_counts(strata, resamples=resamples, seed=seed, groups=group):
        for name, one in measures.items():
            champion, challenger = one.statistic(counts * weights_of[name])
            spread[name].append(challenger - champion)
    return {
        name: _difference(once[name], np.concatenate(spread[name]), weights_of[name], one)
        for name, one in measures.items()
    }


def _difference(
    once: tuple[NDArray[np.float64], NDArray[np.float64]],
    spread: NDArray[np.float64],
    weight: NDArray[np.float64],
    measured: Compared,
) -> Difference:
    effective = min(kish(weight[measured.positive]), kish(weight[~measured.positive]))
    floor = 1 / max(1.0, effective) if measured.ranking else _LEAST_ERROR
    known = np.isfinite(spread)  # a resample without a positive has no average precision
    centre = float(spread[known].mean()) if known.any() else 0.0
    deviations = np.where(known, spread - centre, 0.0)
    return Difference(
        champion=float(once[0][0]),
        challenger=float(once[1][0]),
        error=max(float(deviations[known].std()) if known.any() else 1.0, floor),
        effective=effective,
        n=int(np.count_nonzero(weight)),
        floor=floor,
        deviations=deviations,
    )
