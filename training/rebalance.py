"""Rebalancing for rare classes, by name, so that choices can be compared and recorded.

none                       every example counts once
class_weights              an example counts n / (K · n_c): each class weighs the same in the loss
balanced_sampler           n draws with replacement, as many of each class; within a class by weight
random_over_sampling       examples of rare classes are repeated until all classes are as many (imbalanced-learn)
random_under_sampling      examples of common classes are left out until all are as few, ten at least
smote                      rare classes get synthetic neighbours in embedding space (Chawla et al. 2002)
borderline_smote           the same, only beside examples whose neighbours are mostly of other classes (Han et al. 2005)
smote_enn                  SMOTE, then examples that their neighbours contradict are left out (Batista et al. 2004)
balanced_softmax           the loss adds log n_c to the logits (Ren et al. 2020)
logit_adjustment           the loss adds the log of the weighted class share (Menon et al. 2021, eq. 10)
logit_adjustment_post_hoc  none, and the same logarithm is taken off afterwards (eq. 9 there)
crt                        classifier re-training (Kang et al. 2020): a linear representation of K coordinates is learnt
                           with every example counting once, the classifier over it anew on balanced draws
focal                      the loss of clear examples is damped by (1 - p)² (Lin et al. 2017), classes weigh the same

1. Any counts work: a class of one is repeated where others get neighbours, a small one has fewer neighbours, one that
   editing would take away stays. Each such step away from the plan is noted.
2. Weights sum to the number of examples given, whatever is drawn: the penalty of a head means the same in every plan.
3. Samplers run one after another as in imbalanced-learn's pipeline, which cannot carry the weights of examples along.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from imblearn.over_sampling import SMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.under_sampling import EditedNearestNeighbours, RandomUnderSampler
from numpy.typing import NDArray

_SMOTE_NEIGHBOURS = 5  # Chawla's own
_SMOTE_TIMES = 5  # a class is made up to so many times its size, Chawla's most; what is left to even out are weights
_BORDER_NEIGHBOURS = 10  # Han's own
_EDIT_NEIGHBOURS = 3  # Wilson's own
_LEAST_KEPT = 10  # of a class, by under-sampling: a class of one must not leave one of each
_FOCUS = 2.0  # γ; Lin's best


class Rebalance(Enum):
    """How rare classes are made to count."""

    NONE = "none"
    CLASS_WEIGHTS = "class_weights"
    BALANCED_SAMPLER = "balanced_sampler"
    OVER_SAMPLING = "random_over_sampling"
    UNDER_SAMPLING = "random_under_sampling"
    SMOTE = "smote"
    BORDERLINE_SMOTE = "borderline_smote"
    SMOTE_ENN = "smote_enn"
    BALANCED_SOFTMAX = "balanced_softmax"
    LOGIT_ADJUSTMENT = "logit_adjustment"
    LOGIT_ADJUSTMENT_POST_HOC = "logit_adjustment_post_hoc"
    CRT = "crt"
    FOCAL = "focal"


#: Plans that add a constant to each class's logits in the loss.
IN_THE_LOSS = (Rebalance.BALANCED_SOFTMAX, Rebalance.LOGIT_ADJUSTMENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """Where a plan could not do what it is named for.

    Attributes:
        label: The class.
        what: What was done instead.
    """

    label: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """What a head is fitted on.

    Attributes:
        coordinates: float32 [m, r].
        labels: int [m].
        weight: float [m], sums to the number of examples before rebalancing.
        offset: float [K], added to the logits while training and not afterwards.
        adjustment: float [K], taken off the logits after training.
        prior: float [K], the class shares that the fitted logits speak for.
        focus: γ of the focal loss.
        second: What the second stage of classifier re-training is fitted on.
        fallbacks: Where the plan could not do what it is named for.
    """

    coordinates: NDArray[np.float32]
    labels: NDArray[np.int64]
    weight: NDArray[np.float64]
    offset: NDArray[np.float64]
    adjustment: NDArray[np.float64]
    prior: NDArray[np.float64]
    focus: float = 0.0
    second: Balanced | None = None
    fallbacks: tuple[Fallback, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rows:
    coordinates: NDArray[np.float32]
    labels: NDArray[np.int64]
    weight: NDArray[np.float64]
    fallbacks: tuple[Fallback, ...] = ()

    def select(self, rows: NDArray[np.int64]) -> _Rows:
        return replace(self, coordinates=self.coordinates[rows], labels=self.labels[rows], weight=self.weight[rows])

    def noting(self, label: int, what: str) -> _Rows:
        return replace(self, fallbacks=(*self.fallbacks, Fallback(label=label, what=what)))


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
    count = np.bincount(labels, minlength=classes)
    present = count > 0
    share = np.bincount(labels, weights=weight, minlength=classes) / weight.sum()
    even = present / present.sum()
    rows = _Rows(coordinates, labels, weight * (len(labels) / weight.sum()))
    plain = Balanced(
        coordinates=coordinates,
        labels=labels,
        weight=rows.weight,
        offset=np.zeros(classes),
        adjustment=np.zeros(classes),
        prior=share,
    )
    if how is Rebalance.NONE:
        return plain
    if how is Rebalance.LOGIT_ADJUSTMENT_POST_HOC:
        return replace(plain, adjustment=_log(share), prior=even)
    if how is Rebalance.LOGIT_ADJUSTMENT:
        return replace(plain, offset=_log(share), prior=even)
    if how is Rebalance.BALANCED_SOFTMAX:
        # By counts, as published: where examples weigh differently, what remains are the classes' mean weights.
        left = np.where(present, share / np.maximum(count, 1), 0.0)
        return replace(plain, offset=_log(count / count.sum()), prior=left / left.sum())
    if how is Rebalance.CRT:
        second = rebalance(Rebalance.BALANCED_SAMPLER, coordinates, labels, weight, classes=classes, seed=seed)
        return replace(plain, second=second, prior=even)
    if present.sum() > 1:
        rows = _drawn(how, rows, seed)
    # Drawing evens the counts; what examples weigh, and what a sampler could not even out, is evened here.
    mass = np.bincount(rows.labels, weights=rows.weight, minlength=classes)
    evened = rows.weight * (even / np.where(mass > 0, mass, 1.0))[rows.labels] * len(labels)
    return replace(
        plain,
        coordinates=rows.coordinates,
        labels=rows.labels,
        weight=evened,
        prior=even,
        focus=_FOCUS if how is Rebalance.FOCAL else 0.0,
        fallbacks=rows.fallbacks,
    )


def _log(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.where(share > 0, share, 1.0))


def _drawn(how: Rebalance, rows: _Rows, seed: int) -> _Rows:
    match how:
        case Rebalance.BALANCED_SAMPLER:
            return _balanced_draws(rows, seed)
        case Rebalance.OVER_SAMPLING:
            return _repeated(rows, seed)
        case Rebalance.UNDER_SAMPLING:
            return _fewer(rows, seed)
        case Rebalance.SMOTE | Rebalance.BORDERLINE_SMOTE:
            return _synthesised(rows, seed, border=how is Rebalance.BORDERLINE_SMOTE)
        case Rebalance.SMOTE_ENN:
            return _edited(_synthesised(rows, seed, border=False))
        case _:
            return rows


def _sampled(sampler: RandomOverSampler | RandomUnderSampler, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows that a sampler which makes nothing new would take."""
    sampler.fit_resample(np.arange(len(labels))[:, None], labels)
    chosen: NDArray[np.int64] = sampler.sample_indices_
    return chosen


def _balanced_draws(rows: _Rows, seed: int) -> _Rows:
    random = np.random.default_rng(seed)
    names = np.unique(rows.labels)
    each = max(1, len(rows.labels) // len(names))
    drawn = []
    for name in names:
        members = np.flatnonzero(rows.labels == name)
        weight = rows.weight[members]
        drawn.append(random.choice(members, each, p=weight / weight.sum()))
    chosen = rows.select(np.concatenate(drawn))
    return replace(chosen, weight=np.ones(len(chosen.labels)))  # the weights have spoken in the draw


def _repeated(rows: _Rows, seed: int) -> _Rows:
    """Repeat examples of rare classes: one that is drawn twice more weighs three times, which is the same loss."""
    times = np.bincount(_sampled(RandomOverSampler(random_state=seed), rows.labels), minlength=len(rows.labels))
    return replace(rows, weight=rows.weight * times)


def _fewer(rows: _Rows, seed: int) -> _Rows:
    count = np.bincount(rows.labels)
    rarest = int(np.where(count > 0, count, count.max()).argmin())
    most = max(int(count[rarest]), _LEAST_KEPT)
    wanted = {int(c): min(int(count[c]), most) for c in np.flatnonzero(count)}
    chosen = rows.select(
        np.sort(_sampled(RandomUnderSampler(sampling_strategy=wanted, random_state=seed), rows.labels))
    )
    if count[rarest] < _LEAST_KEPT:
        return chosen.noting(rarest, f"has {count[rarest]}: other classes keep {_LEAST_KEPT} and weigh as much")
    return chosen


def _synthesised(rows: _Rows, seed: int, *, border: bool) -> _Rows:
    count = np.bincount(rows.labels)
    most = int(count.max())
    parts, fallbacks = [rows], list(rows.fallbacks)
    for label in (int(c) for c in np.flatnonzero((count > 0) & (count < most))):
        have, members = int(count[label]), np.flatnonzero(rows.labels == label)
        mean_weight = float(rows.weight[members].mean())
        if have == 1:  # a neighbour needs a class of at least two
            fallbacks.append(Fallback(label=label, what="has one example: it is repeated"))
            parts.append(rows.select(np.repeat(members, min(most, _SMOTE_TIMES) - 1)))
            continue
        neighbours = min(_SMOTE_NEIGHBOURS, have - 1)
        if neighbours < _SMOTE_NEIGHBOURS:
            fallbacks.append(Fallback(label=label, what=f"has {have} examples: {neighbours} neighbours each"))
        wanted = {label: min(most, _SMOTE_TIMES * have)}
        if border:
            sampler = BorderlineSMOTE(
                sampling_strategy=wanted,
                k_neighbors=neighbours,
                m_neighbors=min(_BORDER_NEIGHBOURS, len(rows.labels) - 1),
                random_state=seed + label,
            )
        else:
            sampler = SMOTE(sampling_strategy=wanted, k_neighbors=neighbours, random_state=seed + label)
        made = np.asarray(sampler.fit_resample(rows.coordinates, rows.labels)[0])[len(rows.labels) :]
        if border and not len(made):
            fallbacks.append(Fallback(label=label, what="has no example at a border: it weighs more instead"))
        parts.append(
            _Rows(made.astype(np.float32), np.full(len(made), label, dtype=np.int64), np.full(len(made), mean_weight))
        )
    return _Rows(
        np.concatenate([part.coordinates for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.weight for part in parts]),
        tuple(fallbacks),
    )


def _edited(rows: _Rows) -> _Rows:
    if len(rows.labels) <= _EDIT_NEIGHBOURS:
        return rows
    editor = EditedNearestNeighbours(sampling_strategy="all", n_neighbors=_EDIT_NEIGHBOURS)
    editor.fit_resample(rows.coordinates, rows.labels)
    kept = np.zeros(len(rows.labels), dtype=bool)
    kept[editor.sample_indices_] = True
    edited = rows
    for label in np.unique(rows.labels):
        member = rows.labels == label
        if not (kept & member).any():
            kept |= member
            edited = edited.noting(int(label), "would be edited away: it stays")
    return edited.select(np.flatnonzero(kept))
