"""The band that a line kept in its reference period: days differ, and that is not drift.

1. A day's mean of a payoff differs from the next day's by chance of sampling (variance V, known from the sample) and
   because days differ (lots, lamps, temperature). The second is what the band must hold.
2. The variance between days is S² - mean V, where S² is that of D days' means: the method of moments of a random
   effects model (DerSimonian & Laird 1986).
3. The edge is where a further day's mean lies beyond with the chance that is asked for, days being normal around
   their mean: centre + t(D - 1) · sqrt(between + S²/D), and a tolerance more: a change too small to matter is none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def upper_edges(means: Floats, variances: Floats, *, outside: float, tolerance: float) -> Floats:
    """Upper edges of B payoffs from D days.

    Args:
        means: [D, B], each day's estimated mean.
        variances: [D, B], the sampling variance of each.
        outside: Chance that a day's true mean lies above the edge.
        tolerance: Added to every edge.

    Returns:
        [B], at most 1, where a bet can never gain.

    Raises:
        ValueError: fewer than two days.
    """
    days = len(means)
    if days < 2:
        raise ValueError(f"a band needs the means of at least 2 days, found {days}")
    spread = means.var(axis=0, ddof=1)
    between = np.maximum(spread - variances.mean(axis=0), 0.0)
    reach = float(stats.t.isf(outside, days - 1)) * np.sqrt(between + spread / days)
    edges: Floats = np.minimum(means.mean(axis=0) + reach + tolerance, 1.0)
    return edges


def daily_means(payoffs: Floats, p: Floats, days: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Each day's mean over all frames, estimated from those captured, and its sampling variance.

    Args:
        payoffs: [n, B].
        p: Inclusion probabilities, [n].
        days: Number of the day of each, [n].

    Returns:
        Means and variances, [D, B] each, days in rising order. The mean is Hájek's, Σ y/p over Σ 1/p.
    """
    means, variances = [], []
    for day in np.unique(days):
        weight = 1.0 / p[days == day]
        share = weight / weight.sum()
        values = payoffs[days == day]
        mean = share @ values
        means.append(mean)
        variances.append(np.square(share) @ np.square(values - mean) * len(weight) / max(len(weight) - 1, 1))
    return np.array(means), np.array(variances)
