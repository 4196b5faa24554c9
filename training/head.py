"""The linear head by scikit-learn.

Its loss takes no offset, and needs none: the intercept is not penalised, so a constant added to a class's logits while
training only moves that class's intercept by as much. Subtracting it afterwards gives the minimum of the loss with the
offset (Menon et al. 2021, §4: for a linear head, adjusting in the loss and afterwards are one).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from training.rebalance import Balanced

#: Logit of a class that training has no example of: never predicted, and finite.
ABSENT = -30.0
_TOLERANCE = 1e-3  # of the gradient; scores stop changing long before
_STEPS = 200


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
        return np.asarray(coordinates @ self.weights + self.bias, dtype=np.float64)


def fit_head(data: Balanced, *, regularisation: float, classes: int) -> LinearHead:
    """Fit an L2-penalised logistic regression.

    Args:
        data: Rebalanced examples.
        regularisation: C, the weight of the loss against the penalty; smaller is stronger.
        classes: K.
    """
    width = data.coordinates.shape[1]
    weights, bias = np.zeros((width, classes)), np.full(classes, ABSENT)
    present = np.unique(data.labels)
    if len(present) == 1:
        bias[present] = 0.0
        return LinearHead(weights=weights, bias=bias)
    model = LogisticRegression(C=regularisation, tol=_TOLERANCE, max_iter=_STEPS)
    with warnings.catch_warnings():
        # Weak regularisation may run into the step limit: its score on the folds says whether that matters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data.coordinates, data.labels, sample_weight=data.weight)
    if len(present) == 2:  # scikit-learn gives the difference of the two
        weights[:, present] = np.stack([-model.coef_[0], model.coef_[0]], axis=1) / 2
        bias[present] = np.array([-model.intercept_[0], model.intercept_[0]]) / 2
    else:
        weights[:, present] = model.coef_.T
        bias[present] = model.intercept_
    bias[present] -= data.offset[present]
    return LinearHead(weights=weights, bias=bias)
