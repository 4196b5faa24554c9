"""How long it took from a defect that the engine passed to a version that stops it. Pure.

The median has the interval of two of its order statistics (exact, whatever the distribution); with fewer than six times
no two of them are far enough apart, and the range is given.
"""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats

from data.value.amounts import Amount


def median_of(hours: Sequence[float], level: float = 0.95) -> Amount | None:
    """The median with its interval; None of nothing.

    >>> found = median_of([float(i) for i in range(1, 21)])
    >>> found.value, found.low, found.high, found.n
    (10.5, 6.0, 15.0, 20)
    """
    ordered, n = sorted(hours), len(hours)
    if not n:
        return None
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    below = int(stats.binom.ppf((1 - level) / 2, n, 0.5))  # so many are below the median, at least
    below = max(0, below - (stats.binom.cdf(below, n, 0.5) > (1 - level) / 2))
    return Amount(value=middle, low=ordered[below], high=ordered[n - 1 - below], n=n)
