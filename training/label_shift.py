"""The field's class shares from frames that nobody labelled: what the model says of them, corrected for its mistakes.

1. Two estimates of one thing. EM (Saerens, Latinne & Decaestecker 2002) is the maximum-likelihood prior under which the
   model's probabilities explain the frames; it needs calibrated ones and is then the sharper (Alexandari et al. 2020).
   BBSE (Lipton, Wang & Smola 2018) solves for the shares under which the known confusion gives the predictions seen.
2. Both assume that only the shares have changed, not what a class looks like: after a product change they can agree
   and be wrong together. EM is believed only while BBSE lies within `MOST_APART` of it in total variation, and while
   the labelled frames of the field, `LEAST_LABELS` or more, do not contradict it by more than their own chance.
3. Frames count by 1/inclusion probability: a device keeps what looks like a defect more readily. Frames that were
   labelled count with their label; leaving them out would leave out the defects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from training.evaluate import kish

#: Share of frames by which two estimates may differ before neither is believed.
MOST_APART = 0.1
#: Effective number of frames below which nothing is estimated.
LEAST_FRAMES = 50.0
#: Effective number of labelled field frames below which nothing can contradict, so nothing is believed.
LEAST_LABELS = 20.0
_DOUBT = 2.0  # standard errors
_STEPS = 1_000
_STILL = 1e-7
_LEAST = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFrames:
    """Captured frames of the field with a known chance of being captured, labelled or not.

    Attributes:
        features: float32 [m, D].
        patches: float16 [m, h, w, C].
        probability: float [m], that the frame was captured.
        labels: int [m], -1 where it is not known.
    """

    features: NDArray[np.float32]
    patches: NDArray[np.float16]
    probability: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldShares:
    """The field's class shares, estimated twice.

    Attributes:
        em: float [K].
        bbse: float [K].
        frames: Effective number of frames that they rest on.
    """

    em: NDArray[np.float64]
    bbse: NDArray[np.float64]
    frames: float

    @property
    def apart(self) -> float:
        """Total variation between the two."""
        return float(np.abs(self.em - self.bbse).sum() / 2)

    def believed(self, labelled: NDArray[np.float64], labels: float) -> bool:
        """Whether enough frames speak, the two agree, and labels do not contradict (rule 2).

        Args:
            labelled: float [K], the shares among labelled frames of the field, weighted.
            labels: Effective number of those frames.
        """
        if self.frames < LEAST_FRAMES or labels < LEAST_LABELS or self.apart > MOST_APART:
            return False
        chance = np.sqrt(self.em * (1 - self.em) / labels).sum() / 2
        return bool(np.abs(self.em - labelled).sum() / 2 <= MOST_APART / 2 + _DOUBT * chance)

    def metrics(self, names: Sequence[str]) -> dict[str, float]:
        """Return both estimates for the record, by class."""
        told = {f"field_share_em_{name}": float(share) for name, share in zip(names, self.em, strict=True)}
        told |= {f"field_share_bbse_{name}": float(share) for name, share in zip(names, self.bbse, strict=True)}
        return told | {"field_share_frames": self.frames}


def estimate_shares(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    *,
    prior: NDArray[np.float64],
    known: NDArray[np.floating],
    known_labels: NDArray[np.int64],
) -> FieldShares:
    """Estimate both ways.

    Args:
        probabilities: float [m, K], calibrated, of the field's frames, at the class shares `prior`.
        labels: int [m], -1 where it is not known.
        weight: float [m], how many frames each stands for.
        prior: float [K].
        known: float [n, K], the same model's out-of-fold probabilities of labelled examples, at `prior` too.
        known_labels: int [n].
    """
    return FieldShares(
        em=em_shares(probabilities, labels, weight, prior=prior),
        bbse=bbse_shares(probabilities, labels, weight, known=known, known_labels=known_labels),
        frames=kish(weight),
    )


def em_shares(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    *,
    prior: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Saerens's EM; arguments as `estimate_shares`."""
    sure = np.eye(len(prior))[labels]
    base = np.where((labels >= 0)[:, None], sure, np.asarray(probabilities, dtype=np.float64))
    mass = weight / weight.sum()
    shares = np.maximum(prior, _LEAST) / np.maximum(prior, _LEAST).sum()
    likely = base / np.maximum(prior, _LEAST)
    for _ in range(_STEPS):
        joint = likely * shares
        belief = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
        after = mass @ belief
        still = float(np.abs(after - shares).max()) < _STILL
        shares = after
        if still:
            break
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def bbse_shares(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    *,
    known: NDArray[np.floating],
    known_labels: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Soft BBSE, shares kept from being negative; arguments as `estimate_shares`."""
    classes = probabilities.shape[1]
    unknown = labels < 0
    mass = weight / weight.sum()
    counted = np.bincount(labels[~unknown], weights=mass[~unknown], minlength=classes)
    left = float(mass[unknown].sum())
    if left <= 0:
        return np.asarray(counted, dtype=np.float64)
    there = np.flatnonzero(np.bincount(known_labels, minlength=classes))
    confusion = np.stack([np.asarray(known[known_labels == c]).mean(axis=0) for c in there], axis=1)
    seen = mass[unknown] @ np.asarray(probabilities, dtype=np.float64)[unknown] / left
    solution, _ = nnls(confusion, seen)
    shares = np.zeros(classes)
    shares[there] = solution / max(float(solution.sum()), _LEAST)
    return np.asarray(counted + left * shares, dtype=np.float64)
