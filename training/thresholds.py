"""Where the verdict changes: chosen on out-of-fold probabilities.

1. The defect threshold is where the weighted balanced accuracy is best, kept between half the defect share and 0.6:
   few defects must not drag it to an end of the scale.
2. The unsure band lies around it, in logits, as wide as holds a given share of the frames.
3. With one class the anomaly score decides alone and these stay at their defaults.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import Thresholds

UNSURE_SHARE = 0.05
_HIGHEST = 0.6


def choose_thresholds(
    defect_probability: NDArray[np.float32],
    is_defect: NDArray[np.bool_],
    weight: NDArray[np.float64],
    *,
    unsure_share: float = UNSURE_SHARE,
) -> Thresholds:
    """Choose thresholds.

    Args:
        defect_probability: float [n], out of fold.
        is_defect: bool [n], the truth.
        weight: float [n], how many frames each example stands for.
        unsure_share: Share of frames that people may be asked about.

    Returns:
        Thresholds; the defaults where one side has no example.
    """
    if not is_defect.any() or is_defect.all():
        return Thresholds()
    p = defect_probability.astype(np.float64)
    prior = float(np.average(is_defect, weights=weight))
    low, high = min(prior / 2, _HIGHEST / 2), _HIGHEST
    order = np.argsort(p, kind="stable")
    missed = np.cumsum(np.where(is_defect, weight, 0.0)[order]) / weight[is_defect].sum()
    passed = np.cumsum(np.where(is_defect, 0.0, weight)[order]) / weight[~is_defect].sum()
    balanced = (1.0 - missed + passed) / 2  # when the threshold lies just above this example
    cut = np.append((p[order][:-1] + p[order][1:]) / 2, 1.0)
    allowed = (cut >= low) & (cut <= high)
    threshold = float(cut[allowed][np.argmax(balanced[allowed])]) if allowed.any() else float(np.clip(0.5, low, high))
    logit = np.log(np.clip(p, 1e-6, 1 - 1e-6) / np.clip(1 - p, 1e-6, 1 - 1e-6))
    centre = np.log(threshold / (1 - threshold))
    distance = np.abs(logit - centre)
    near = np.argsort(distance, kind="stable")
    inside = np.cumsum(weight[near]) <= unsure_share * weight.sum()
    width = float(distance[near][inside].max()) if inside.any() else 0.0
    ends = [float(1 / (1 + np.exp(-(centre + side * width)))) for side in (-1, 1)]
    # Through logits and back loses the last digit: the band must hold the threshold all the same.
    return Thresholds(defect=threshold, unsure_low=min(ends[0], threshold), unsure_high=max(ends[1], threshold))
