"""What a label would teach: how much surer the model would be of the line's frames (expected variance reduction).

1. The model's answer is taken to be off by a linear function of the embedding and a constant, of which nothing is known
   but their size: a Gaussian prior over heads, centred embeddings, mean squared length 1. Frames that look alike are
   off alike.
2. A label of a frame with answer p is worth p(1 - p) of information: a clear answer is hardly moved by being confirmed.
   What is labelled already, and what people were asked for, has been learnt in this sense.
3. A label's gain is the variance it takes away, summed over the captured frames: each counts by the frames it stands
   for (1/p₁) and by p(1 - p), since a clear answer needs no more surety (Yu, Bi & Tresp 2006; Schein & Ungar 2007, with
   Laplace's posterior). So a gain is high where the model is unsure *and* many frames like it come *and* no label has
   told of them yet: with few labels typical frames come first, later those near the boundary.
4. Labels are chosen one after another, each in view of those before: what one tells, its like needs not tell again.
   Whatever they turn out to be: the variance does not depend on the answer, so a batch can be chosen before any comes.

Nothing here is random, so nothing chosen here has a probability: such labels are for training (`data.draws`, rule 5).
Cost: one product of m embeddings with each other, and one of that with a vector for each label; who calls bounds m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import ClassInfo

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Prior variance of a logit's error at a typical frame. 5 and 80 in its place measured within noise of 20.
PRIOR_VARIANCE = 20.0
_LEAST_DOUBT = 0.01  # of a frame that may be chosen: p = 0.01
_LEAST_LEARNT = 0.05  # a label that contradicts a clear answer told more than that answer's p(1 - p)
_OPEN = 0.25  # p(1 - p) where there is no opinion
_K1_BAND = 0.25  # with one class: an anomaly within a quarter of the threshold is uncertain, as on the device


@dataclass(frozen=True, slots=True, kw_only=True)
class Gained:
    """Labels worth asking for, best first.

    Attributes:
        chosen: int [k], rows.
        gain: float64 [k], the share of all variance left that each takes away in its turn.
        unknown: float64 [k], what is not known yet of each before anything was chosen, against the prior.
    """

    chosen: NDArray[np.int64]
    gain: Floats
    unknown: Floats


def doubt(probabilities: Floats, anomaly: Floats, classes: list[ClassInfo] | tuple[ClassInfo, ...]) -> Floats:
    """p(1 - p) of each answer; with more classes than two half of Gini's impurity, which is the same.

    Args:
        probabilities: float64 [m, K]; rows of zeros are no opinion.
        anomaly: float64 [m], nan where unknown. It decides with one class.
        classes: K classes.
    """
    if len(classes) == 1:
        near = 1.0 - np.clip(np.abs(anomaly - 1.0) / _K1_BAND, 0.0, 1.0)
        return np.asarray(_OPEN * np.nan_to_num(near, nan=1.0), dtype=np.float64)
    total = probabilities.sum(axis=1)
    found = 0.5 * (1.0 - np.square(probabilities).sum(axis=1))
    return np.where(total > 0, np.clip(found, 0.0, 0.5), _OPEN)


def choose_by_gain(
    embeddings: Vectors, doubts: Floats, frames: Floats, *, known: Mask, choosable: Mask, n: int
) -> Gained:
    """Choose up to n labels.

    Args:
        embeddings: float32 [m, D], length 1: everything captured, labelled or not.
        doubts: float64 [m], p(1 - p).
        frames: float64 [m], how many of the line's frames each stands for; 0 for what is not of the line as it runs.
        known: bool [m], labelled, or asked for already.
        choosable: bool [m].
        n: How many, at most.
    """
    covariance = _prior(embeddings)
    prior = np.maximum(np.diag(covariance).copy(), 1e-12)
    learnt = np.flatnonzero(known)
    if len(learnt):
        across = covariance[:, learnt]
        least = np.diag(1.0 / np.maximum(doubts[learnt], _LEAST_LEARNT))
        covariance -= across @ np.linalg.solve(across[learnt] + least, across.T)
    own = np.maximum(np.diag(covariance), 0.0)
    unknown = np.clip(own / prior, 0.0, 1.0)
    matters = frames * doubts
    noise = 1.0 / np.maximum(doubts, _LEAST_DOUBT)
    # What a label takes away is Σ matters · covariance² / (noise + own). A choice subtracts one outer product from the
    # covariance; only the sums are brought up to date, and the products kept: told @ told.T.
    sums = np.square(covariance) @ matters
    told = np.zeros((len(embeddings), max(n, 0)))
    left = choosable & ~known
    chosen: list[int] = []
    gains: list[float] = []
    while len(chosen) < n and left.any():
        gain = np.where(left, np.maximum(sums, 0.0) / (noise + own), -1.0)
        i = int(gain.argmax())
        total = float(own @ matters)
        gains.append(float(gain[i]) / total if total > 0 else 0.0)
        column = covariance[:, i] - told @ told[i]
        size = float(noise[i] + own[i])
        heavy = matters * column
        moved = covariance @ heavy - told @ (told.T @ heavy)
        sums += column * (column * float(column @ heavy) / size - 2.0 * moved) / size
        own = np.maximum(own - np.square(column) / size, 0.0)
        told[:, len(chosen)] = column / np.sqrt(size)
        left[i] = False
        chosen.append(i)
    rows = np.array(chosen, dtype=np.int64)
    return Gained(chosen=rows, gain=np.array(gains), unknown=unknown[rows])


def _prior(embeddings: Vectors) -> Floats:
    centred = embeddings - embeddings.mean(axis=0)
    size = float(np.square(centred).sum(axis=1).mean())
    product = (centred @ centred.T).astype(np.float64)
    return np.asarray(PRIOR_VARIANCE * (1.0 + product / max(size, 1e-12)), dtype=np.float64)
