"""How far probabilities are from what is seen: adaptive calibration error, debiased, with its interval.

1. Bins hold equal weight of frames (Nguyen & O'Connor 2015): bins of equal width are empty where defects are rare.
2. A bin's share of n labels strays from the truth by chance, and the plain mean of |said - seen| counts that as
   miscalibration. Its variance is taken off the squared gap of each bin first, as far as there is any (Kumar et al.
   2019, for the squared error); what little is left of chance errs on the careful side.
3. Frames of one probability are in one bin. The interval is normal about the estimate, its spread the bootstrap's over
   groups, whatever their labels (how many are positive is chance too): a resample strays once more by chance, so its
   quantiles lie too high.
4. Weights are 1/inclusion probability: the error is that of all frames.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.bootstrap import resampled_counts
from training.evaluate import LEVEL, Measure

BINS = 10
_RESAMPLES = 500
_Z = float(NormalDist().inv_cdf((1 + LEVEL) / 2))
_LEAST = 1e-12


def calibration_error(
    probability: ArrayLike,
    truth: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    bins: int = BINS,
    seed: int = 0,
    resamples: int = _RESAMPLES,
) -> Measure:
    """Return the weighted mean gap between said and seen.

    Args:
        probability: float [n], of the event.
        truth: bool [n], whether it happened.
        weight: float [n], positive; default 1.
        groups: [n], near-duplicates share one.
        bins: How many.
        seed: Of the bootstrap.
        resamples: Of the bootstrap; 0 for the value alone.
    """
    said, seen = np.asarray(probability, dtype=np.float64), np.asarray(truth, dtype=np.bool_)
    frames = np.ones(len(said)) if weight is None else np.asarray(weight, dtype=np.float64)
    if not len(said):
        return Measure(value=float("nan"), low=0.0, high=1.0, n=0)
    order = np.argsort(said, kind="stable")
    said, seen, frames = said[order], seen[order], frames[order]
    names = None if groups is None else np.asarray(groups)[order]
    value = float(_debiased(said, seen, frames[None, :], bins)[0])
    if not resamples:
        return Measure(value=min(1.0, max(0.0, value)), low=0.0, high=1.0, n=len(said))
    blocks = resampled_counts(np.zeros(len(seen), dtype=np.int64), resamples=resamples, seed=seed, groups=names)
    drawn = np.concatenate([_debiased(said, seen, counts * frames, bins) for counts in blocks])
    half = _Z * float(np.std(drawn, ddof=1))
    value, low, high = (min(1.0, max(0.0, v)) for v in (value, value - half, value + half))
    return Measure(value=value, low=low, high=high, n=len(said))


def _debiased(
    said: NDArray[np.float64], seen: NDArray[np.bool_], weight: NDArray[np.float64], bins: int
) -> NDArray[np.float64]:
    """Return float64 [b] for weights [b, n]; rows are in the order of what was said."""
    last = np.flatnonzero(np.append(said[1:] != said[:-1], True))  # of frames of one probability
    which_value = np.searchsorted(last, np.arange(len(said)))
    total = weight.sum(axis=1, keepdims=True)
    above = np.cumsum(weight, axis=1)[:, last]
    below = np.concatenate([np.zeros((len(weight), 1)), above[:, :-1]], axis=1)
    middle = ((above + below) / (2 * total))[:, which_value]
    which = np.minimum((middle * bins).astype(np.int64), bins - 1)
    error = np.zeros(len(weight))
    for k in range(bins):
        inside = np.where(which == k, weight, 0.0)
        mass = inside.sum(axis=1)
        safe = np.where(mass > 0, mass, 1.0)
        share = (inside @ seen) / safe
        gap = (inside @ said) / safe - share
        size = safe**2 / np.maximum(np.square(inside).sum(axis=1), _LEAST)
        chance = share * (1 - share) / np.maximum(size - 1, 1.0)
        error += mass / total[:, 0] * np.sqrt(np.maximum(gap**2 - chance, 0.0))
    return error
