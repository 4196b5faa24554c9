"""Times of several cases, one after another in every round, so that a busy moment meets them all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluate import Measure

Times = NDArray[np.float64]


def interleave(cases: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 3) -> dict[str, Times]:
    """Run every case once a round.

    Args:
        cases: Name to what is timed.
        rounds: How often.
        warm_up: Rounds before that do not count.

    Returns:
        Milliseconds [rounds] of each case.
    """
    for _ in range(warm_up):
        for run in cases.values():
            run()
    times = {name: np.empty(rounds) for name in cases}
    for k in range(rounds):
        for name, run in cases.items():
            started = time.perf_counter_ns()
            run()
            times[name][k] = (time.perf_counter_ns() - started) / 1e6
    return times


def ratio(ours: Times, theirs: Times, *, seed: int = 0, resamples: int = 2000) -> Measure:
    """Ratio of medians, with a 95 % bootstrap interval over the rounds: a round's runs stay together."""
    rows = np.random.default_rng(seed).integers(0, len(ours), size=(resamples, len(ours)))
    drawn = np.median(ours[rows], axis=1) / np.median(theirs[rows], axis=1)
    low, high = (float(q) for q in np.quantile(drawn, [0.025, 0.975]))
    return Measure(value=float(np.median(ours) / np.median(theirs)), low=low, high=high, n=len(ours))


def median_of(values: Sequence[float] | Times, *, seed: int = 0, resamples: int = 2000) -> Measure:
    """Median with a 95 % bootstrap interval."""
    array = np.asarray(values, dtype=np.float64)
    rows = np.random.default_rng(seed).integers(0, len(array), size=(resamples, len(array)))
    low, high = (float(q) for q in np.quantile(np.median(array[rows], axis=1), [0.025, 0.975]))
    return Measure(value=float(np.median(array)), low=low, high=high, n=len(array))
