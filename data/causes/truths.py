"""Units, and what is known of whether a target holds of them: labels, helped by what the engine thought of all frames.

1. Of a captured frame that was labelled with chance p₂, (1/p₂)·(truth) is unbiased for the truth; of one that was not,
   0 is: its labelled likes speak for it. That wastes what the engine thinks of the many frames nobody labelled.
2. So truth* = λ·guess + (1/p₂)·(truth − λ·guess), the second term 0 without a label. Its expectation over the draw of
   labels is the truth whatever the guess is worth (difference estimator, Särndal 1980; prediction-powered inference,
   Angelopoulos et al. 2023): a biased engine costs precision, never validity.
3. λ, between 0 and 1, makes the weighted variance of truth* smallest (Angelopoulos, Duchi & Zrnic 2023). It is chosen
   per target over all units and does not look at any variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.causes.values import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A part with what is known of it (rule 1).

    Attributes:
        labelled: Parts that its labelled frames stand for.
        positive: Targets of which a label says that they hold.
        told: Target -> weighted mean over its frames of what labels say, each counted 1/p₂ times.
        open: Target -> the same of what the engine thought, less what it thought of the labelled, counted so.
    """

    part: str | None
    at: float
    station: str
    device: str
    engine: str
    weight: float
    labelled: float
    positive: frozenset[str]
    told: Mapping[str, float]
    open: Mapping[str, float]
    context: Context


def truth_of(units: Sequence[Unit], targets: Sequence[str]) -> NDArray[np.float64]:
    """truth* of each unit and target, [units, targets]."""
    weight = np.array([unit.weight for unit in units], dtype=np.float64)
    columns = []
    for target in targets:
        told = np.array([unit.told.get(target, 0.0) for unit in units], dtype=np.float64)
        unsure = np.array([unit.open.get(target, 0.0) for unit in units], dtype=np.float64)
        columns.append(told + trust(told, unsure, weight) * unsure)
    return np.column_stack(columns) if columns else np.empty((len(units), 0))


def trust(told: NDArray[np.float64], unsure: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """λ of rule 3.

    >>> trust(np.array([4.0, 0.0, 0.0, 0.0]), np.array([-3.0, 1.0, 1.0, 1.0]), np.ones(4))
    1.0
    """
    if not weight.size:
        return 0.0
    share = weight / weight.sum()
    a, b = told - (share * told).sum(), unsure - (share * unsure).sum()
    spread = float((weight**2 * b**2).sum())
    return float(np.clip(-(weight**2 * a * b).sum() / spread, 0.0, 1.0)) if spread > 0 else 0.0
