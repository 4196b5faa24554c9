"""Labels that look wrong: confident learning on out-of-fold probabilities (Northcutt, Jiang & Chuang 2021).

1. Probabilities come from models that did not see the sample or its group.
2. A class's threshold is the mean probability of that class among samples labelled so: what "confident" means differs
   by class, so a class that the model finds hard is not doubted wholesale (§3.1, the confident joint).
3. A sample is counted at the class of highest probability among those whose threshold it reaches; counted away from its
   label it is suspect.
4. Per pair of classes as many are suggested as the calibrated joint says are wrong, those of largest margin first
   (prune by noise rate, §3.2); and only suspects of rule 3. Both must agree: what is suggested costs a person's time.
5. The weakest first: ordered by the probability of the given label.
6. Nothing here changes a label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """One label to look at again.

    Attributes:
        row: Its position.
        given: Class number of the label.
        suggested: Class number that the probabilities speak for.
        confidence: Out-of-fold probability of the given class.
    """

    row: int
    given: int
    suggested: int
    confidence: float


def confident_joint(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts [K, K] of samples labelled i that are confidently j (rules 2 and 3), scaled to the labels' counts.

    Args:
        labels: int [n].
        probabilities: float [n, K], out of fold.
    """
    classes = probabilities.shape[1]
    confident = confident_class(labels, probabilities)
    joint = np.zeros((classes, classes))
    known = confident >= 0
    np.add.at(joint, (labels[known], confident[known]), 1.0)
    given = np.bincount(labels, minlength=classes).astype(np.float64)
    empty = joint.sum(axis=1) == 0
    joint[empty, empty] = given[empty]  # nothing is confident in that class: nothing is doubted
    return np.asarray(joint * (given / np.maximum(joint.sum(axis=1), 1e-12))[:, None])


def confident_class(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class that each sample is confidently of; -1 where it reaches no class's threshold."""
    classes = probabilities.shape[1]
    threshold = np.full(classes, np.inf)  # a class without labels is never suggested
    for k in range(classes):
        if (labels == k).any():
            threshold[k] = probabilities[labels == k, k].mean()
    reached = np.where(probabilities >= threshold[None] - 1e-9, probabilities, -1.0)
    best = reached.argmax(axis=1)
    return np.where(reached.max(axis=1) >= 0, best, -1).astype(np.int64)


def suspect_labels(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[Suspect]:
    """Suggest labels to look at again, the weakest first.

    Args:
        labels: int [n], class numbers.
        probabilities: float [n, K], out of fold, rows sum to 1.

    Raises:
        ValueError: Shapes differ, or a probability is not finite.

    >>> labels = np.array([0] * 9 + [1] * 9 + [0])
    >>> probabilities = np.array([[0.9, 0.1]] * 9 + [[0.1, 0.9]] * 10)
    >>> [(s.row, s.given, s.suggested) for s in suspect_labels(labels, probabilities)]
    [(18, 0, 1)]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or len(p) != len(labels) or not np.isfinite(p).all():
        raise ValueError(f"expected finite probabilities [{len(labels)}, K], found {p.shape}")
    classes = p.shape[1]
    if classes < 2 or len(np.unique(labels)) < 2:
        return []
    confident = confident_class(labels, p)
    wrong = np.rint(confident_joint(labels, p)).astype(np.int64)
    found: list[Suspect] = []
    for given in range(classes):
        for other in range(classes):
            if given == other:
                continue
            rows = np.flatnonzero((labels == given) & (confident == other))
            margin = p[rows, other] - p[rows, given]
            chosen = rows[np.argsort(-margin, kind="stable")][: wrong[given, other]]
            found += [
                Suspect(row=int(i), given=given, suggested=other, confidence=float(p[i, given]))
                for i in chosen
                if p[i, other] > p[i, given]
            ]
    return sorted(found, key=lambda s: (s.confidence, s.row))
