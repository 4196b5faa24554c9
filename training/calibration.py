"""Calibration on out-of-fold logits: how sure the head may be, apart from the class shares of the world to come.

1. Three maps, each within the next, all of them affine in the logits, so that the engine's graph stays as it is:
   temperature (Guo et al. 2017), bias-corrected temperature (Alexandari et al. 2020), vector scaling (Guo et al. 2017).
   With two classes the second is Platt's and the third adds nothing.
2. The richer map is taken only where its weighted log loss on folds is lower by more than one standard error of the
   difference. A class of fewer than `LEAST_OF_CLASS` examples gets no scale or offset of its own: the common
   temperature is all that can be known of it, and it must not take from the others what is known of them.
3. Log scales and biases are drawn towards none by a penalty worth one example, in nats at one unit.
4. What a map learns is how sure to be at the class shares of its examples; the shares of the frames to come are moved
   to afterwards (`prior_shift`), outside the temperature: they are known apart from how sure the head is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from training.evaluate import kish
from training.folds import group_folds

_LOG_LIMITS = (np.log(0.05), np.log(20.0))
_LEAST_PRIOR = 1e-6
#: Examples of a class below which nothing is fitted for it alone.
LEAST_OF_CLASS = 10
_FOLDS = 5


class Map(Enum):
    """How logits become calibrated ones."""

    TEMPERATURE = "temperature"  # one number
    BIAS_CORRECTED = "bias_corrected"  # and an offset for each class
    VECTOR = "vector"  # a scale and an offset for each class


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Calibrated logits = scale · logits + bias.

    Attributes:
        map: Which of the maps.
        scale: float [K], positive.
        bias: float [K].
        losses: Map -> weighted log loss on folds, of those that were compared.
    """

    map: Map
    scale: NDArray[np.float64]
    bias: NDArray[np.float64]
    losses: dict[str, float]

    def logits(self, raw: NDArray[np.floating]) -> NDArray[np.float64]:
        """Raw logits [n, K] to calibrated ones."""
        return np.asarray(raw * self.scale + self.bias, dtype=np.float64)


def prior_shift(prior: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """What to add to logits that speak for `prior` so that they speak for `target`; float [K].

    A class that training had no example of has no prior: its logit stays where it is.
    """
    return np.where(prior > 0, np.log(np.maximum(target, _LEAST_PRIOR) / np.maximum(prior, _LEAST_PRIOR)), 0.0)


def calibrate(
    logits: NDArray[np.float64],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    *,
    prior: NDArray[np.float64],
    groups: NDArray[np.str_],
    seed: int,
    maps: Sequence[Map] = tuple(Map),
) -> Calibration:
    """Choose a map and fit it.

    Args:
        logits: float [n, K], out of fold.
        labels: int [n].
        weight: float [n], how much each example says about the frames to come.
        prior: float [K], the class shares that the logits speak for.
        groups: str [n], never split by a fold.
        seed: Of the folds.
        maps: Only these; the first is the default.
    """
    classes = logits.shape[1]
    shares = np.bincount(labels, weights=weight, minlength=classes) / weight.sum()
    shift = prior_shift(prior, shares)
    count = np.bincount(labels, minlength=classes)
    own = count >= LEAST_OF_CLASS
    tried = [m for m in maps if (own.sum() > 1 or m is maps[0]) and not (classes == 2 and m is Map.VECTOR)]
    best, losses = tried[0], {}
    if len(tried) > 1:
        fold = group_folds(groups, labels, folds=_FOLDS, seed=seed)
        found = {m: _held_out_losses(m, logits, labels, weight, shift, own, fold) for m in tried}
        losses = {m.value: float(np.average(loss, weights=weight)) for m, loss in found.items()}
        for candidate in tried[1:]:
            gain = found[best] - found[candidate]
            mean = float(np.average(gain, weights=weight))
            spread = float(np.sqrt(np.average((gain - mean) ** 2, weights=weight) / max(kish(weight), 1.0)))
            if mean > spread:
                best = candidate
    scale, bias = _fit(best, logits, labels, weight, shift, own)
    return Calibration(map=best, scale=scale, bias=bias, losses=losses)


def fit_temperature(
    logits: NDArray[np.float64],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> float:
    """Find T that minimises the weighted log loss of softmax(logits / T + shift).

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


def _held_out_losses(
    how: Map,
    logits: NDArray[np.float64],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    shift: NDArray[np.float64],
    own: NDArray[np.bool_],
    fold: NDArray[np.int64],
) -> NDArray[np.float64]:
    losses = np.empty(len(labels))
    for k in range(fold.max() + 1):
        held, rest = fold == k, fold != k
        if not rest.any():
            rest = held
        scale, bias = _fit(how, logits[rest], labels[rest], weight[rest], shift, own)
        scores = log_softmax(logits[held] * scale + bias + shift, axis=1)
        losses[held] = -scores[np.arange(held.sum()), labels[held]]
    return losses


def _fit(
    how: Map,
    logits: NDArray[np.float64],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    shift: NDArray[np.float64],
    own: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scale [K] and bias [K]; classes that are not `own` keep the common scale and no bias."""
    classes = logits.shape[1]
    start = -np.log(fit_temperature(logits, labels, weight, shift))
    if how is Map.TEMPERATURE:
        return np.full(classes, np.exp(start)), np.zeros(classes)
    share = weight / weight.sum()
    penalty = 0.5 / max(kish(weight), 1.0)
    rows = np.arange(len(labels))
    # One stretch for all classes, or one for each that has examples enough.
    spread = np.diag(own.astype(np.float64)) if how is Map.VECTOR else np.ones((1, classes))
    free = len(spread)

    def objective(variables: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        stretch, bias = variables[:free], variables[free:] * own
        scale = np.exp(start + stretch @ spread)
        scores = log_softmax(logits * scale + bias + shift, axis=1)
        value = -float(share @ scores[rows, labels]) + penalty * float(stretch @ stretch + bias @ bias)
        residual = np.exp(scores)
        residual[rows, labels] -= 1.0
        residual *= share[:, None]
        toward = spread @ ((residual * logits).sum(axis=0) * scale) + 2 * penalty * stretch
        return value, np.concatenate([toward, (residual.sum(axis=0) + 2 * penalty * bias) * own])

    found = minimize(
        objective,
        np.zeros(free + classes),
        jac=True,
        method="L-BFGS-B",
        bounds=[(_LOG_LIMITS[0] - start, _LOG_LIMITS[1] - start)] * free + [(None, None)] * classes,
    ).x
    return np.exp(start + found[:free] @ spread), found[free:] * own
