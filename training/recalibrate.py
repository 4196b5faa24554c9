"""The best that a model's ranking could do after recalibration: Platt's two parameters, fitted where it is judged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_EDGE = 1e-3  # probabilities are taken as no closer to 0 and 1
_SLOPE_PENALTY = 1e-2  # keeps the slope finite where the ranking is perfect
_STEPS = 50
_CLOSE = 1e-9  # a step that changes nothing


def recalibrated(
    positive: NDArray[np.bool_], risk: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return float64 [n]: the risk mapped by the sigmoid a + b·logit(risk) that fits the labels best, b >= 0.

    Fitted on the very samples that it is then judged on, it flatters: right for the champion in a comparison that
    must not be won by a better base rate alone (Platt 1999).

    Args:
        positive: bool [n], with both values present.
        risk: float64 [n].
        weight: float64 [n].
    """
    clipped = np.clip(risk, _EDGE, 1 - _EDGE)
    design = np.stack([np.ones(len(risk)), np.log(clipped / (1 - clipped))], axis=1)
    weights = weight / weight.mean()
    parameters, penalty = np.zeros(2), np.array([1e-6, _SLOPE_PENALTY])
    for _ in range(_STEPS):
        fitted = _sigmoid(design @ parameters)
        gradient = design.T @ (weights * (fitted - positive)) + penalty * parameters
        curvature = (design * (weights * fitted * (1 - fitted) + 1e-9)[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        parameters = parameters - step / max(1.0, float(np.abs(step).max()) / 2)
        if float(np.abs(step).max()) < _CLOSE:
            break
    if parameters[1] < 0:  # a ranking upside down knows nothing: the base rate alone
        base = float(np.average(positive, weights=weight))
        return np.full(len(risk), np.clip(base, _EDGE, 1 - _EDGE))
    return _sigmoid(design @ parameters)


def _sigmoid(value: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(value, -30, 30)))
    return result
