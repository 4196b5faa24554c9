"""Seeded bootstrap resampling: whole groups, within strata.

1. What is drawn with replacement is a group (near-duplicates stay together), not a row.
2. Groups are drawn within strata, so that every resample has as many groups with a positive as the data: a resample
   without positives would have no average precision.
3. Resamples are count matrices: a measure that takes row weights needs no copy of the data.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CELLS_AT_ONCE = 2_000_000  # 16 MB of counts


def resampled_counts(
    strata: NDArray[np.int64], *, resamples: int, seed: int, groups: ArrayLike | None = None
) -> Iterator[NDArray[np.float64]]:
    """Yield blocks of count matrices, `resamples` rows in all.

    Args:
        strata: int [n], stratum of each row; a group belongs to the highest stratum of its rows.
        resamples: How many resamples.
        seed: Of the generator.
        groups: [n], rows that are drawn together share one; None: each row for itself.

    Yields:
        float64 [b, n]: how often each row is in each of b resamples.

    >>> blocks = list(resampled_counts(np.array([0, 0, 1]), resamples=4, seed=0))
    >>> [float(row[2]) for row in blocks[0]], blocks[0].sum(axis=1).tolist()
    ([1.0, 1.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0])
    """
    n = len(strata)
    if n == 0:
        return
    names = np.arange(n) if groups is None else np.asarray(groups)
    _, unit_of_row = np.unique(names, return_inverse=True)
    units = int(unit_of_row.max()) + 1
    stratum = np.full(units, np.iinfo(np.int64).min)
    np.maximum.at(stratum, unit_of_row, strata)
    members = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS_AT_ONCE // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        counts = np.empty((rows, units))
        for chosen in members:
            counts[:, chosen] = generator.multinomial(len(chosen), np.full(len(chosen), 1 / len(chosen)), size=rows)
        yield counts[:, unit_of_row]
