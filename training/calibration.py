"""Temperature calibration (Guo et al. 2017) on out-of-fold logits, after the move to the field's class shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

_LOG_LIMITS = (np.log(0.05), np.log(20.0))
_LEAST_PRIOR = 1e-6


def prior_shift(prior: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """What to add to logits that speak for `prior` so that they speak for `target`; float [K].

    A class that training had no example of has no prior: its logit stays where it is.
    """
    return np.where(prior > 0, np.log(np.maximum(target, _LEAST_PRIOR) / np.maximum(prior, _LEAST_PRIOR)), 0.0)


def fit_temperature(
    logits: NDArray[np.float64],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> float:
    """Find T that minimises the weighted log loss of softmax(logits / T + shift).

    The shift is outside: the class shares are known apart from how sure the head is.

    Args:
        logits: float [n, K], out of fold.
        labels: int [n].
        weight: float [n].
        shift: float [K].

    Returns:
        T between 0.05 and 20; 1 where there is nothing to learn from.
    """
    if logits.shape[1] < 2 or len(np.unique(labels)) < 2:
        return 1.0
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scores = log_softmax(logits / np.exp(log_temperature) + shift, axis=1)
        return -float(np.average(scores[rows, labels], weights=weight))

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_LIMITS, method="bounded", options={"xatol": 1e-4}).x))


def calibrated(logits: NDArray[np.float64], temperature: float, shift: NDArray[np.float64]) -> NDArray[np.float32]:
    """Logits [n, K] to probabilities float32 [n, K]."""
    return np.asarray(softmax(logits / temperature + shift, axis=1), dtype=np.float32)


def expected_calibration_error(
    probability: NDArray[np.float32], truth: NDArray[np.bool_], weight: NDArray[np.float64], *, bins: int = 10
) -> float:
    """Weighted mean gap between said and seen, over bins of equal mass.

    Args:
        probability: float [n], of the event.
        truth: bool [n], whether it happened.
        weight: float [n].
        bins: How many.
    """
    order = np.argsort(probability, kind="stable")
    edge = np.cumsum(weight[order]) / weight.sum()
    which = np.minimum((edge * bins).astype(int), bins - 1)
    mass = np.bincount(which, weights=weight[order], minlength=bins)
    said = np.bincount(which, weights=(weight * probability)[order], minlength=bins)
    seen = np.bincount(which, weights=(weight * truth)[order], minlength=bins)
    return float(np.abs(said - seen).sum() / mass.sum())
