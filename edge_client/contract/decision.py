"""From an engine's outputs to a verdict: the same rule on the device, in evaluation and in the gate.

1. With one class (ok frames alone were ever seen) the anomaly score decides: ``defect`` from the threshold on.
2. Otherwise the defect probability is the sum over classes of kind defect.
3. Inside [unsure_low, unsure_high) the verdict is ``unsure``.
4. A frame that would pass but whose anomaly score reaches the threshold is ``unsure``.
5. The class that goes with the verdict, the unsure band aside: the most probable defect where the defect probability
   reaches the threshold, else the most probable class of kind ok.
"""

from collections.abc import Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds


class Verdict(Enum):
    """What the device says about a part."""

    OK = "ok"  # pass it
    DEFECT = "defect"  # reject it
    UNSURE = "unsure"  # a person should look


def defect_probability(probabilities: NDArray[np.float32], classes: Sequence[ClassInfo]) -> NDArray[np.float32]:
    """Return the probability of any defect.

    Args:
        probabilities: float32 [N, K], rows sum to 1.
        classes: K classes in the engine's order.

    Returns:
        float32 [N]; zeros where no class is a defect.
    """
    is_defect = np.array([c.kind is Kind.DEFECT for c in classes], dtype=bool)
    total: NDArray[np.float32] = probabilities[:, is_defect].sum(axis=1, dtype=np.float32)
    return total


def decide(probabilities: NDArray[np.float32], anomaly: NDArray[np.float32], metadata: EngineMetadata) -> list[Verdict]:
    """Return the verdict for each of N frames.

    Args:
        probabilities: float32 [N, K].
        anomaly: float32 [N].
        metadata: The engine's classes and thresholds.
    """
    limits = metadata.thresholds
    strange = anomaly >= limits.anomaly
    if len(metadata.classes) == 1:
        return [Verdict.DEFECT if s else Verdict.OK for s in strange]
    p = defect_probability(probabilities, metadata.classes)
    return [
        _one(float(p[i]), bool(strange[i]), limits.defect, limits.unsure_low, limits.unsure_high) for i in range(len(p))
    ]


def decided_class(
    probabilities: NDArray[np.float32], classes: Sequence[ClassInfo], thresholds: Thresholds
) -> NDArray[np.int64]:
    """Return the class of each of N frames by rule 5.

    Args:
        probabilities: float32 [N, K].
        classes: K classes in the engine's order.
        thresholds: The engine's.

    Returns:
        int [N], index into the classes.

    >>> two = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="crack", kind=Kind.DEFECT))
    >>> decided_class(np.array([[0.7, 0.3], [0.9, 0.1]], np.float32), two, Thresholds(defect=0.25)).tolist()
    [1, 0]
    """
    is_defect = np.array([c.kind is Kind.DEFECT for c in classes], dtype=bool)
    rejected = defect_probability(probabilities, classes) >= thresholds.defect
    allowed = is_defect[None, :] == rejected[:, None]
    if is_defect.all() or not is_defect.any():
        allowed[:] = True
    chosen: NDArray[np.int64] = np.where(allowed, probabilities, -1.0).argmax(axis=1)
    return chosen


def _one(p: float, strange: bool, defect: float, low: float, high: float) -> Verdict:
    if low <= p < high:
        return Verdict.UNSURE
    if p >= defect:
        return Verdict.DEFECT
    return Verdict.UNSURE if strange else Verdict.OK
