"""False discoveries: q-values over all tests of one analysis.

Benjamini & Hochberg 1995 is the default. It keeps the expected share of false ones among what is called found at or
below the level if the tests are independent or positively dependent. Variables of one line hang together (temperature
and humidity, the same humidity at two stations), which mostly is of that kind; the benchmark measures it on noise that
hangs together. Benjamini & Yekutieli 2001 holds under any dependence, and asks for p-values smaller by
1 + 1/2 + … + 1/m (6.6 at 400 tests).
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Dependence(str, Enum):
    """What is assumed of the tests."""

    POSITIVE = "positive"  # Benjamini & Hochberg
    ANY = "any"  # Benjamini & Yekutieli


def q_values(p: ArrayLike, dependence: Dependence = Dependence.POSITIVE) -> NDArray[np.float64]:
    """The smallest level at which each test would be a discovery, [m].

    >>> q_values([0.01, 0.04, 0.03, 0.5]).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]
    """
    values = np.asarray(p, dtype=np.float64)
    m = len(values)
    order = np.argsort(values)
    ranks = np.arange(1, m + 1)
    scaled = values[order] * m * price(m, dependence) / ranks
    smallest = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    q = np.empty(m)
    q[order] = smallest
    return q


def price(m: int, dependence: Dependence) -> float:
    """By how much p-values must be smaller than Benjamini and Hochberg ask."""
    return float(np.sum(1 / np.arange(1, m + 1))) if dependence is Dependence.ANY else 1.0
