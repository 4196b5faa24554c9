"""Rebalancing for rare classes, by name, so that choices can be compared and recorded.

none              every example counts once
class_weights     an example counts n / (K · n_c): each class weighs the same in the loss
balanced_sampler  rare classes are drawn again, with replacement, until all are as many
smote             rare classes get synthetic neighbours in embedding space (Chawla et al. 2002, imbalanced-learn)
logit_adjustment  the loss adds log n_c to the logits (Menon et al. 2021, Ren et al. 2020), so that what is learnt is
                  the balanced posterior without weighting anything
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from imblearn.over_sampling import SMOTE, RandomOverSampler
from numpy.typing import NDArray

_SMOTE_NEIGHBOURS = 5  # Chawla's own


class Rebalance(Enum):
    """How rare classes are made to count."""

    NONE = "none"
    CLASS_WEIGHTS = "class_weights"
    BALANCED_SAMPLER = "balanced_sampler"
    SMOTE = "smote"
    LOGIT_ADJUSTMENT = "logit_adjustment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """What a head is fitted on.

    Attributes:
        coordinates: float32 [m, r].
        labels: int [m].
        weight: float [m], mean 1.
        offset: float [K], added to the logits while training and not afterwards.
        prior: float [K], the class shares that the fitted logits speak for.
    """

    coordinates: NDArray[np.float32]
    labels: NDArray[np.int64]
    weight: NDArray[np.float64]
    offset: NDArray[np.float64]
    prior: NDArray[np.float64]


def rebalance(
    how: Rebalance,
    coordinates: NDArray[np.float32],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    *,
    classes: int,
    seed: int,
) -> Balanced:
    """Rebalance training examples.

    Args:
        how: The choice.
        coordinates: float32 [n, r].
        labels: int [n].
        weight: float [n], what each example counts before rebalancing (field examples count more).
        classes: K; classes without an example keep a prior of zero.
        seed: Of what is drawn.
    """
    mass = np.bincount(labels, weights=weight, minlength=classes)
    present = mass > 0
    share = mass / mass.sum()
    even = present / present.sum()
    offset = np.zeros(classes)
    prior = even
    if how is Rebalance.NONE:
        prior = share
    elif how is Rebalance.CLASS_WEIGHTS:
        weight = weight * (even[labels] / share[labels])
    elif how is Rebalance.LOGIT_ADJUSTMENT:
        offset = np.where(present, np.log(np.where(present, share, 1.0)), 0.0)
    elif present.sum() > 1:
        sample = _sampled if how is Rebalance.BALANCED_SAMPLER else _synthesised
        coordinates, labels, weight = sample(coordinates, labels, weight, seed)
        # Drawing evens the counts; field weights may still tilt the classes.
        mass = np.bincount(labels, weights=weight, minlength=classes)
        weight = weight * (even / np.where(present, mass, 1.0))[labels]
    return Balanced(coordinates=coordinates, labels=labels, weight=weight / weight.mean(), offset=offset, prior=prior)


_Rows = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]


def _sampled(
    coordinates: NDArray[np.float32], labels: NDArray[np.int64], weight: NDArray[np.float64], seed: int
) -> _Rows:
    sampler = RandomOverSampler(random_state=seed)
    sampler.fit_resample(np.arange(len(labels))[:, None], labels)
    rows = sampler.sample_indices_
    return coordinates[rows], labels[rows], weight[rows]


def _synthesised(
    coordinates: NDArray[np.float32], labels: NDArray[np.int64], weight: NDArray[np.float64], seed: int
) -> _Rows:
    counts = np.bincount(labels)
    most = int(counts.max())
    # A neighbour needs a class of at least two; a single example can only be repeated.
    lone = {int(c): most for c in np.flatnonzero(counts == 1)}
    if lone:
        sampler = RandomOverSampler(sampling_strategy=lone, random_state=seed)
        sampler.fit_resample(np.arange(len(labels))[:, None], labels)
        rows = sampler.sample_indices_
        coordinates, labels, weight = coordinates[rows], labels[rows], weight[rows]
    mean_weight = np.bincount(labels, weights=weight) / np.maximum(np.bincount(labels), 1)
    # Classes of one size share a neighbour count: each gets as many neighbours as it can have.
    for have in sorted({int(c) for c in counts if 1 < c < most}):
        wanted = {int(c): most for c in np.flatnonzero(counts == have)}
        smote = SMOTE(sampling_strategy=wanted, k_neighbors=min(_SMOTE_NEIGHBOURS, have - 1), random_state=seed)
        n = len(labels)
        coordinates, labels = smote.fit_resample(coordinates, labels)
        weight = np.concatenate([weight, mean_weight[labels[n:]]])
    return coordinates, labels, weight
