"""Softmax regression with an L2 penalty: the one solver of all linear heads.

1. The objective is C · Σ wᵢ·loss(zᵢ + offset, yᵢ) + ½‖W‖², the intercept not penalised: scikit-learn's, with two things
   that its own lacks, an offset in the loss and the focal loss (1 - p)^γ · -log p (Lin et al. 2017, §3). With two
   classes scikit-learn penalises the difference of the two columns, which is ‖W‖² here.
2. L-BFGS on variables scaled by the root of a diagonal of the Hessian: coordinates are principal axes, whose spreads
   differ a hundredfold. A search over plans fits some hundred heads, and may begin each at the one before.
3. Sums over examples are in single precision as the coordinates are, everything that is summed up from them in double.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

_STEPS = 200
_GRADIENT = 2e-4  # of the mean loss, in scaled variables; scores stop changing long before
_PROGRESS = 1e-7  # relative, of the objective in one step
_CURVATURE = 0.1  # of the loss in a logit: p(1 - p) of a frame that is neither clear nor open
_LEAST = 1e-12


def fit_softmax(
    coordinates: NDArray[np.float32],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    *,
    classes: int,
    regularisation: float,
    offset: NDArray[np.float64] | None = None,
    focus: float = 0.0,
    start: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit; every one of the classes has an example.

    Args:
        coordinates: float32 [n, r].
        labels: int [n], below `classes`.
        weight: float [n], of each example's loss.
        classes: K >= 2.
        regularisation: C, the weight of the loss against the penalty; smaller is stronger.
        offset: float [K], added to the logits in the loss alone.
        focus: γ of the focal loss; 0 is cross-entropy.
        start: Weights and bias to begin at, of a head fitted on the same examples by another plan; default zeros.

    Returns:
        Weights float64 [r, K] and bias float64 [K].
    """
    width = coordinates.shape[1]
    total = float(weight.sum())
    share = (weight / total)[:, None]
    ridge = (1.0 if classes == 2 else 0.5) / (regularisation * total)
    rows = np.arange(len(labels))
    truth = np.zeros((len(labels), classes))
    truth[rows, labels] = 1.0
    moved = np.zeros(classes) if offset is None else offset
    spread = np.einsum("nr,nr,n->r", coordinates, coordinates, share[:, 0].astype(np.float32), optimize=True)
    scale = np.sqrt(_CURVATURE * np.append(spread.astype(np.float64), 1.0) + np.append(np.full(width, 2 * ridge), 0))
    turned = np.ascontiguousarray(coordinates.T)

    def objective(variables: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        solution = variables.reshape(width + 1, classes) / scale[:, None]
        logits = coordinates @ solution[:-1].astype(np.float32) + (solution[-1] + moved)
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        sums = odds.sum(axis=1, keepdims=True)
        probability = odds / sums
        log_true = (logits[rows, labels] - np.log(sums[:, 0]))[:, None]
        if focus:
            right = np.exp(log_true)
            wrong = np.maximum(1.0 - right, _LEAST)
            loss = -(wrong**focus) * log_true
            slope = wrong**focus - focus * right * wrong ** (focus - 1.0) * log_true
            residual = share * slope * (probability - truth)
        else:
            loss = -log_true
            residual = share * (probability - truth)
        gradient = np.empty_like(solution)
        gradient[:-1] = turned @ residual.astype(np.float32) + 2 * ridge * solution[:-1]
        gradient[-1] = residual.sum(axis=0)
        value = float((share * loss).sum() + ridge * np.square(solution[:-1]).sum())
        return value, (gradient / scale[:, None]).ravel()

    begin = np.zeros((width + 1, classes)) if start is None else np.vstack([*start]) * scale[:, None]
    found = minimize(
        objective,
        begin.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _STEPS, "gtol": _GRADIENT, "ftol": _PROGRESS, "maxcor": 20},
    )
    solution = found.x.reshape(width + 1, classes) / scale[:, None]
    return solution[:-1], solution[-1]
