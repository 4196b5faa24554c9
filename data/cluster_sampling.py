"""Estimates when near-duplicates were drawn together: a group is one unit (Horvitz & Thompson 1952; cluster sampling).

Frame i of group g was captured with p₁ᵢ and drawn with its whole group, p₂g. With t = Σ y/p₁ over the group's captured
frames the total Σ t/p₂ is unbiased, and its variance is estimated without bias by

    V = Σ_g [ Σ_i y²(1-p₁)/p₁² / p₂ + t²(1-p₂)/p₂² ]

the first stage's part (frames are captured apart: covariances 0) and the second's (a group is drawn or not). Each group
becomes one item (y', p') with y'/p' = t/p₂ and y'²(1-p')/p'² = its term of V, so that what is written for single frames
(:mod:`data.intervals`) holds for groups. A group of one gives back y and p₁·p₂.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """m drawn units.

    Attributes:
        values: float64 [m], y'.
        probabilities: float64 [m], p'.
        frames: float64 [m], what y' is when every frame of the unit counts: y'/frames is the unit's share.
    """

    values: Floats
    probabilities: Floats
    frames: Floats


def units_of(y: ArrayLike, p: ArrayLike, p2: ArrayLike, groups: Sequence[str]) -> Units:
    """Make one unit of each group.

    Args:
        y: Values of the labelled frames, [n].
        p: Their inclusion probability over both stages, [n].
        p2: That of the second stage, the same for all of a group, [n].
        groups: The group of each, [n].

    >>> units = units_of([1, 1, 0], [0.5, 0.5, 0.1], [0.5, 0.5, 0.1], ["a", "a", "b"])
    >>> units.values.tolist(), units.probabilities.tolist(), units.frames.tolist()
    ([2.0, 0.0], [0.5, 0.1], [2.0, 1.0])
    """
    values, both, second = (np.asarray(x, dtype=np.float64) for x in (y, p, p2))
    if not len(values):
        return Units(values=values, probabilities=both, frames=values)
    _, first_row, group = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    first = np.minimum(1.0, both / second)
    p2_of_group = second[first_row]

    def moments(x: Floats) -> tuple[Floats, Floats]:
        total = np.bincount(group, weights=x / first).astype(np.float64)
        spread = np.bincount(group, weights=np.square(x) * (1 - first) / np.square(first)).astype(np.float64)
        return total, spread

    total, spread = moments(values)
    everything, spread_of_all = moments(np.ones(len(values)))
    counted = total > 0
    # 1 - p' is the term of V over (t/p₂)²; a group without any y takes the shape that its frames have.
    apart = np.where(counted, spread / np.where(counted, np.square(total), 1.0), spread_of_all / np.square(everything))
    probability = np.clip(p2_of_group * (1.0 - apart), 1e-12, 1.0)
    scale = probability / p2_of_group
    return Units(values=total * scale, probabilities=probability, frames=everything * scale)
