"""How good a model is: each measure with its interval and its n.

1. A measure that nothing speaks for (no sample, no positive, an empty class) is nan in [0, 1].
2. Rates have exact Clopper-Pearson intervals; with weights, at Kish's effective n = (sum w)^2 / sum w^2.
3. Average precision has a seeded bootstrap interval, positives and negatives resampled apart, whole groups together.
   Where the bootstrap shows no spread (everything ranked right) it is Clopper-Pearson's with n = positives.
4. Weights are 1/inclusion probability: the measure then speaks of all frames, not of those that were captured.

Sources: Clopper & Pearson 1934; Kish 1965; Korn & Graubard 1998 (exact intervals at an effective n); Brodersen et al.
2010 (posterior of balanced accuracy); Boyd, Eng & Page 2013 (intervals of average precision).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from training.bootstrap import resampled_counts

LEVEL = 0.95
_RESAMPLES = 1_000
_FLAT = 1e-9  # a bootstrap interval narrower than this says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number with its uncertainty.

    Attributes:
        value: Point estimate; nan where there is nothing to measure.
        low: Lower end of the 95 % interval.
        high: Upper end.
        n: Samples that it rests on.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if math.isnan(self.value):
            return f"unknown (n = {self.n})"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n = {self.n})"

    def to_dict(self) -> dict[str, float | int | None]:
        """As JSON: ``{"value", "low", "high", "n"}``; nan becomes null."""
        return {
            "value": None if math.isnan(self.value) else self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
        }


def average_precision(
    positive: ArrayLike,
    score: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = _RESAMPLES,
) -> Measure:
    """Average precision: the mean, over positives, of the precision at their rank.

    Args:
        positive: bool [n].
        score: float [n], higher means more likely positive; ties share one threshold.
        weight: float [n], 1/inclusion probability.
        groups: [n], near-duplicates share one.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.
    """
    truth, values, weights = _scores(positive, score, weight)
    n, positives = len(truth), int(truth.sum())
    if positives == 0 or n == 0:
        return Measure(value=math.nan, low=0.0, high=1.0, n=n)
    value = float(average_precisions(truth, values, weights[None, :])[0])
    if positives == n:
        return Measure(value=1.0, low=0.0, high=1.0, n=n)  # nothing to be confused with
    blocks = resampled_counts(truth.astype(np.int64), resamples=resamples, seed=seed, groups=groups)
    spread = np.concatenate([average_precisions(truth, values, counts * weights) for counts in blocks])
    low, high = (float(q) for q in np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    if high - low < _FLAT:
        low, high = clopper_pearson(value, kish(weights[truth]))
    return Measure(value=value, low=min(low, value), high=max(high, value), n=n)


def class_average_precision(
    labels: ArrayLike,
    probabilities: NDArray[np.floating],
    names: Sequence[str],
    *,
    weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> dict[str, Measure]:
    """Return the average precision of each class against the rest.

    Args:
        labels: int [n], index into `names`.
        probabilities: float [n, K].
        names: K class names.
        weight: float [n].
        groups: [n].
        seed: Of the bootstrap.
    """
    truth = np.asarray(labels, dtype=np.int64)
    return {
        name: average_precision(truth == k, probabilities[:, k], weight=weight, groups=groups, seed=seed)
        for k, name in enumerate(names)
    }


def average_precisions(
    positive: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average precision under each of b weightings of the same ranking.

    Args:
        positive: bool [n].
        score: float64 [n].
        weight: float64 [b, n], not negative.

    Returns:
        float64 [b]; nan where no positive has weight.
    """
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # a threshold lies after the last of equal scores
    weights = weight[:, order]
    found = np.cumsum(weights * positive[order], axis=1)[:, last]
    shown = np.cumsum(weights, axis=1)[:, last]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(shown > 0, found / shown, 0.0)
        gained = np.diff(found, axis=1, prepend=0.0) / found[:, -1:]
    total: NDArray[np.float64] = (precision * gained).sum(axis=1)
    return total


def balanced_accuracy(
    labels: ArrayLike, predicted: ArrayLike, *, weight: ArrayLike | None = None, seed: int = 0, resamples: int = 10_000
) -> Measure:
    """Return the mean recall of the classes that have samples.

    Args:
        labels: int [n].
        predicted: int [n].
        weight: float [n].
        seed: Of the draws from the recalls' Jeffreys posteriors, whose quantiles are the interval.
        resamples: Number of draws.
    """
    truth, guess, weights = _classes(labels, predicted, weight)
    present = np.unique(truth)
    if len(present) == 0:
        return Measure(value=math.nan, low=0.0, high=1.0, n=0)
    generator = np.random.default_rng(seed)
    recalls, draws = [], np.zeros(resamples)
    for label in present:
        member = truth == label
        rate, size = _rate(guess[member] == label, weights[member]), kish(weights[member])
        recalls.append(rate)
        draws += generator.beta(rate * size + 0.5, (1 - rate) * size + 0.5, size=resamples) / len(present)
    value = float(np.mean(recalls))
    low, high = (float(q) for q in np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return Measure(value=value, low=min(low, value), high=max(high, value), n=len(truth))


def accuracy(labels: ArrayLike, predicted: ArrayLike, *, weight: ArrayLike | None = None) -> Measure:
    """Return the share of samples whose class is predicted."""
    truth, guess, weights = _classes(labels, predicted, weight)
    return rate(truth == guess, weight=weights)


def recall(labels: ArrayLike, predicted: ArrayLike, label: int, *, weight: ArrayLike | None = None) -> Measure:
    """Return the share of a class's samples that are predicted as that class; n counts those samples."""
    truth, guess, weights = _classes(labels, predicted, weight)
    member = truth == label
    return rate(guess[member] == label, weight=weights[member])


def rate(happened: ArrayLike, *, weight: ArrayLike | None = None) -> Measure:
    """Return the share of True, with its exact interval.

    >>> print(rate([True] * 20))
    1.000 [0.832, 1.000] (n = 20)
    """
    truth = np.asarray(happened, dtype=np.bool_).ravel()
    weights = _weights(weight, len(truth), len(truth))
    if len(truth) == 0:
        return Measure(value=math.nan, low=0.0, high=1.0, n=0)
    value = _rate(truth, weights)
    low, high = clopper_pearson(value, kish(weights))
    return Measure(value=value, low=low, high=high, n=len(truth))


def confusion(
    labels: ArrayLike, predicted: ArrayLike, classes: int, *, weight: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return float64 [K, K]: rows are true classes, columns predicted ones; weighted counts."""
    truth, guess, weights = _classes(labels, predicted, weight)
    table = np.zeros((classes, classes))
    np.add.at(table, (truth, guess), weights)
    return table


def log_losses(labels: NDArray[np.int64], probabilities: NDArray[np.floating], clip: float) -> NDArray[np.float64]:
    """Return float64 [n]: -ln of the true class's probability, taken as at least `clip`.

    The bound keeps one confidently wrong frame from outweighing a shift's worth of others.
    """
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.clip(chosen, clip, 1.0))


def clopper_pearson(share: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Exact binomial interval of a share seen in n trials; n may be a fraction (an effective n).

    >>> low, high = clopper_pearson(0.0, 100)
    >>> low, round(high, 4)
    (0.0, 0.0362)
    """
    if n <= 0:
        return 0.0, 1.0
    tail, hits = (1 - level) / 2, share * n
    low = 0.0 if share <= 0 else float(stats.beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if share >= 1 else float(stats.beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high


def kish(weight: NDArray[np.float64]) -> float:
    """Effective number of samples: (sum w)^2 / sum w^2; 0 for none."""
    squares = float(np.sum(weight**2))
    return float(np.sum(weight)) ** 2 / squares if squares > 0 else 0.0


def _rate(happened: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    share = float(np.sum(weight[happened]) / np.sum(weight))
    return min(1.0, max(0.0, share))


def _scores(
    positive: ArrayLike, score: ArrayLike, weight: ArrayLike | None
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    truth, values = np.asarray(positive, dtype=np.bool_).ravel(), np.asarray(score, dtype=np.float64).ravel()
    if not np.isfinite(values).all():
        raise ValueError("a measure needs finite scores; check the engine's output for nan")
    return truth, values, _weights(weight, len(truth), len(values))


def _classes(
    labels: ArrayLike, predicted: ArrayLike, weight: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    truth, guess = np.asarray(labels, dtype=np.int64).ravel(), np.asarray(predicted, dtype=np.int64).ravel()
    return truth, guess, _weights(weight, len(truth), len(guess))


def _weights(weight: ArrayLike | None, n: int, other: int) -> NDArray[np.float64]:
    weights = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64).ravel()
    if not n == other == len(weights):
        raise ValueError(f"a measure needs columns of one length; found {n}, {other} and {len(weights)} weights")
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError("a measure needs finite weights above 0; leave out samples without a probability")
    return weights
