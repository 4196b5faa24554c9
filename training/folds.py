"""Folds that keep a group whole and spread classes and origins evenly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def group_folds(
    groups: NDArray[np.str_],
    strata: NDArray[np.int64],
    *,
    folds: int,
    seed: int,
) -> NDArray[np.int64]:
    """Deal groups to folds.

    Groups of one stratum are dealt in turn, in random order, so that each fold gets its share of every stratum. A
    group belongs to the rarest stratum among its rows: what is rare must be spread first.

    Args:
        groups: str [n].
        strata: int [n], for example class and origin combined.
        folds: How many; fewer when there are fewer groups.
        seed: Of the order.

    Returns:
        int [n], the fold in which each row is held out.
    """
    names, index = np.unique(groups, return_inverse=True)
    folds = max(1, min(folds, len(names)))
    size = np.bincount(strata)
    rarity = size[strata]
    order = np.argsort(rarity, kind="stable")
    stratum = np.empty(len(names), dtype=np.int64)
    # Written from common to rare, so that the rarest stays.
    stratum[index[order[::-1]]] = strata[order[::-1]]
    shuffled = np.random.default_rng(seed).permutation(len(names))
    dealt = shuffled[np.argsort(size[stratum[shuffled]] * (len(size) + 1) + stratum[shuffled], kind="stable")]
    fold_of_group = np.empty(len(names), dtype=np.int64)
    fold_of_group[dealt] = np.arange(len(names)) % folds
    return fold_of_group[index]
