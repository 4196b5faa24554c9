"""The linear head: one softmax regression, or two for classifier re-training.

The intercept is not penalised, so a constant added to a class's logits in the loss only moves that class's intercept by
as much: for a linear head, adjusting in the loss and adjusting afterwards find one head (Menon et al. 2021, §4). Both
are here, and a test holds them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.rebalance import Balanced
from training.softmax_regression import fit_softmax

#: Logit of a class that training has no example of: never predicted, and finite.
ABSENT = -30.0
#: C of the second stage of classifier re-training: K standardised coordinates need next to no penalty.
_SECOND_STAGE = 0.1
_LEAST_SCALE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearHead:
    """Logits as an affine function of coordinates.

    Attributes:
        weights: float64 [r, K].
        bias: float64 [K].
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def logits(self, coordinates: NDArray[np.float32]) -> NDArray[np.float64]:
        """Coordinates [n, r] to logits [n, K]."""
        return np.asarray(coordinates @ self.weights.astype(np.float32) + self.bias, dtype=np.float64)


def fit_head(data: Balanced, *, regularisation: float, classes: int, start: LinearHead | None = None) -> LinearHead:
    """Fit a head.

    Args:
        data: Rebalanced examples.
        regularisation: C, the weight of the loss against the penalty; smaller is stronger.
        classes: K.
        start: A head of the same examples by another plan: the same one is found, sooner.
    """
    width = data.coordinates.shape[1]
    weights, bias = np.zeros((width, classes)), np.full(classes, ABSENT)
    present = np.unique(data.labels)
    if len(present) == 1:
        bias[present] = 0.0
        return LinearHead(weights=weights, bias=bias)
    weights[:, present], bias[present] = fit_softmax(
        data.coordinates,
        np.searchsorted(present, data.labels),
        data.weight,
        classes=len(present),
        regularisation=regularisation,
        offset=data.offset[present],
        focus=data.focus,
        start=None if start is None else (start.weights[:, present], start.bias[present]),
    )
    if data.second is not None:
        weights[:, present], bias[present] = _retrained(weights[:, present], bias[present], data.second, present)
    bias[present] -= data.adjustment[present]
    return LinearHead(weights=weights, bias=bias)


def _retrained(
    weights: NDArray[np.float64], bias: NDArray[np.float64], second: Balanced, present: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keep the first stage as a representation of K coordinates; fit the classifier over it anew, classes balanced."""
    seen = second.coordinates @ weights + bias
    mean, scale = seen.mean(axis=0), seen.std(axis=0) + _LEAST_SCALE
    turn, lift = fit_softmax(
        ((seen - mean) / scale).astype(np.float32),
        np.searchsorted(present, second.labels),
        second.weight,
        classes=len(present),
        regularisation=_SECOND_STAGE,
    )
    turn = turn / scale[:, None]
    return weights @ turn, (bias - mean) @ turn + lift
