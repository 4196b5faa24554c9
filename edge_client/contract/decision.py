"""From an engine's outputs to a verdict: the same rule on the device, in evaluation and in the gate.

1. With one class (ok frames alone were ever seen) the anomaly score decides: ``defect`` from the threshold on.
2. Otherwise the defect probability is the sum over classes of kind defect, and the risk, which is held against the
   thresholds, is the same sum. Where classes have thresholds of their own, each probability counts in the risk by the
   common threshold over its own: a class alone reaches the threshold exactly where it reaches its own.
3. Where the risk is inside [unsure_low, unsure_high) the verdict is ``unsure``.
4. A frame that would pass but whose anomaly score reaches the threshold is ``unsure``.
5. The class that goes with the verdict, the unsure band aside: the most probable defect where the risk reaches the
   threshold, else the most probable class of kind ok.
"""

import struct
from collections.abc import Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds

_SINGLE = struct.Struct("f")


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
    is_defect = [i for i, c in enumerate(classes) if c.kind is Kind.DEFECT]
    # one column after another, in double precision: the same sum as `Judge.one` makes of one row
    total = np.zeros(len(probabilities), dtype=np.float64)
    for i in is_defect:
        total += probabilities[:, i]
    return total.astype(np.float32)


def risk(
    probabilities: NDArray[np.float32], classes: Sequence[ClassInfo], thresholds: Thresholds
) -> NDArray[np.float32]:
    """Return what is held against the thresholds (rule 2).

    Args:
        probabilities: float32 [N, K], rows sum to 1.
        classes: K classes in the engine's order.
        thresholds: The engine's.

    Returns:
        float32 [N]; the defect probability where no class has a threshold of its own.

    >>> three = (ClassInfo(name="ok", kind=Kind.OK), *(ClassInfo(name=n, kind=Kind.DEFECT) for n in ("dent", "crack")))
    >>> strict = Thresholds(defect=0.5, by_class=(1.0, 0.5, 0.1))
    >>> risk(np.array([[0.8, 0.1, 0.1], [0.7, 0.3, 0.0]], np.float32), three, strict).tolist()
    [0.6000000238418579, 0.30000001192092896]
    """
    factors = _factors(classes, thresholds)
    total = np.zeros(len(probabilities), dtype=np.float64)
    for i, factor in factors:
        total += probabilities[:, i].astype(np.float64) * factor
    return total.astype(np.float32)


def _factors(classes: Sequence[ClassInfo], thresholds: Thresholds) -> tuple[tuple[int, float], ...]:
    """Return (index, how much its probability counts in the risk) of each class of kind defect."""
    own = thresholds.by_class
    return tuple(
        (i, thresholds.defect / own[i] if own else 1.0) for i, c in enumerate(classes) if c.kind is Kind.DEFECT
    )


class Judge:
    """An engine's rule, made ready once: a device judges a frame in microseconds.

    Args:
        metadata: The engine's classes and thresholds.
    """

    __slots__ = ("_all", "_anomaly", "_defect", "_defects", "_factors", "_high", "_low", "_oks", "names")

    def __init__(self, metadata: EngineMetadata) -> None:
        self.names = tuple(c.name for c in metadata.classes)
        self._all = tuple(range(len(self.names)))
        self._defects = tuple(i for i, c in enumerate(metadata.classes) if c.kind is Kind.DEFECT)
        self._oks = tuple(i for i, c in enumerate(metadata.classes) if c.kind is Kind.OK)
        limits = metadata.thresholds
        self._anomaly, self._defect = limits.anomaly, limits.defect
        self._low, self._high = limits.unsure_low, limits.unsure_high
        self._factors = _factors(metadata.classes, limits) if limits.by_class else ()

    def one(self, probabilities: Sequence[float], anomaly: float) -> tuple[Verdict, int, float]:
        """Judge one frame.

        Args:
            probabilities: K numbers.
            anomaly: Its anomaly score.

        Returns:
            The verdict, the index of the class that goes with it (rule 5), and the defect probability.
        """
        total = 0.0
        for i in self._defects:
            total += probabilities[i]
        (p,) = _SINGLE.unpack(_SINGLE.pack(total))  # as `defect_probability` rounds; NumPy's own scalar costs tenfold
        held = p
        if self._factors:
            total = 0.0
            for i, factor in self._factors:
                total += probabilities[i] * factor
            (held,) = _SINGLE.unpack(_SINGLE.pack(total))
        rejected = held >= self._defect
        among = (self._defects if rejected else self._oks) or self._all
        best = among[0]
        for i in among:
            if probabilities[i] > probabilities[best]:
                best = i
        strange = anomaly >= self._anomaly
        if len(self._all) == 1:
            return (Verdict.DEFECT if strange else Verdict.OK), best, p
        if self._low <= held < self._high:
            return Verdict.UNSURE, best, p
        if rejected:
            return Verdict.DEFECT, best, p
        return (Verdict.UNSURE if strange else Verdict.OK), best, p


def decide(probabilities: NDArray[np.float32], anomaly: NDArray[np.float32], metadata: EngineMetadata) -> list[Verdict]:
    """Return the verdict for each of N frames.

    Args:
        probabilities: float32 [N, K].
        anomaly: float32 [N].
        metadata: The engine's classes and thresholds.
    """
    judge = Judge(metadata)
    return [judge.one(p, a)[0] for p, a in zip(probabilities.tolist(), anomaly.tolist(), strict=True)]


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
    rejected = risk(probabilities, classes, thresholds) >= thresholds.defect
    allowed = is_defect[None, :] == rejected[:, None]
    allowed |= ~allowed.any(axis=1, keepdims=True)  # there are classes of one kind alone
    chosen: NDArray[np.int64] = np.where(allowed, probabilities, -1.0).argmax(axis=1)
    return chosen
