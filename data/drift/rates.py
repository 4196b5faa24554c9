"""CUSUM on the rates of classes, verdicts and anomalies over ALL frames, from the windows' signed records.

1. A series is a share of a window's frames: a predicted class, a verdict, or an anomaly score above the threshold.
2. In control is whatever lies inside the band of the reference days (data/drift/band.py): the CUSUM is of the
   binomial log-likelihood ratio between the band's edge and a rate whose odds are `_ODDS` times as large, on either
   side.
3. Frames of a window are not independent (a stopped belt shows one part a hundred times): the ratio is divided by the
   dispersion of the reference's windows within their days, Pearson's χ² by its degrees of freedom, at least 1.
4. The limit is h = log(windows a year · sides / allowed false alarms a year). A CUSUM of log-likelihood ratios at the
   edge needs e^h windows on average to pass h by chance, at least (Lorden 1971).
5. Rates depend on the engine: another engine begins another reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.drift.band import upper_edges

Floats = NDArray[np.float64]

LEAST_DAYS = 5
_ODDS = 1.5
_TOLERANCE = 0.005  # of a rate: half a point more or less is no drift
_DAYS_A_YEAR = 365.0
ANOMALOUS = "anomaly above the threshold"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCounts:
    """What a window's record says of all its frames.

    Attributes:
        day: Number of the day on the device's clock.
        frames: N.
        counts: Series → frames.
    """

    day: int
    frames: int
    counts: Mapping[str, int]


def counts_of(
    day: int, frames: int, classes: Mapping[str, int], verdicts: Mapping[str, int], histograms: Mapping[str, object]
) -> WindowCounts:
    """Gather the series of a record.

    >>> hist = {"anomaly": {"edges": [0.0, 0.5, 1.0, 9.0], "counts": [5, 4, 1]}}
    >>> counts_of(1, 10, {"ok": 9, "crack": 1}, {"ok": 10}, hist).counts
    {'class ok': 9, 'class crack': 1, 'verdict ok': 10, 'anomaly above the threshold': 1}
    """
    counts = {f"class {name}": int(n) for name, n in classes.items()}
    counts |= {f"verdict {name}": int(n) for name, n in verdicts.items()}
    anomaly = histograms.get("anomaly")
    if isinstance(anomaly, Mapping):
        pairs = zip(anomaly["edges"][:-1], anomaly["counts"], strict=True)
        counts[ANOMALOUS] = int(sum(n for edge, n in pairs if edge >= 1.0))
    return WindowCounts(day=day, frames=frames, counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateReference:
    """Made by :func:`rate_reference_of`.

    Attributes:
        names: S series, sorted.
        centre: Rate of each over the reference days, [S].
        edges: The most of the rate, and of its complement, inside the band, [2, S].
        dispersion: At least 1, [S].
        limit: h.
    """

    names: tuple[str, ...]
    centre: Floats
    edges: Floats
    dispersion: Floats
    limit: float


def rate_reference_of(windows: Sequence[WindowCounts], *, allowed_per_year: float) -> RateReference:
    """Learn what is usual.

    Args:
        windows: Of whole days of the reference period.
        allowed_per_year: False alarms: half for days beyond the band by chance, half for what is found inside it.

    Raises:
        ValueError: frames on fewer than 5 days.
    """
    seen = [window for window in windows if window.frames > 0]
    names = tuple(sorted({name for window in seen for name in window.counts}))
    frames = np.array([window.frames for window in seen], dtype=np.float64)
    counts = np.array([[window.counts.get(name, 0) for name in names] for window in seen], dtype=np.float64)
    days = np.array([window.day for window in seen], dtype=np.int64)
    each = np.unique(days)
    if len(each) < LEAST_DAYS:
        raise ValueError(f"rates need frames of at least {LEAST_DAYS} days, found {len(each)}")
    total = np.array([frames[days == day].sum() for day in each])
    rate = np.array([counts[days == day].sum(axis=0) for day in each]) / total[:, None]
    dispersion = _dispersion(counts, frames, rate[np.searchsorted(each, days)], len(each))
    sides = 2 * len(names)
    outside = allowed_per_year / 2 / _DAYS_A_YEAR / sides
    variance = dispersion * rate * (1.0 - rate) / total[:, None]
    # What was never seen may still happen now and then: three frames of the reference, at the dispersion.
    least = 3.0 * dispersion / total.sum()
    edges = [
        np.maximum(upper_edges(means, variance, outside=outside, tolerance=_TOLERANCE), least)
        for means in (rate, 1.0 - rate)
    ]
    a_year = len(seen) / len(each) * _DAYS_A_YEAR
    return RateReference(
        names=names,
        centre=counts.sum(axis=0) / frames.sum(),
        edges=np.minimum(np.array(edges), 1.0),
        dispersion=dispersion,
        limit=float(np.log(a_year * sides / (allowed_per_year / 2))),
    )


def _dispersion(counts: Floats, frames: Floats, expected: Floats, days: int) -> Floats:
    """Pearson's χ² within days over its degrees of freedom, [S]; 1 where windows are as alike as chance allows."""
    variance = frames[:, None] * expected * (1.0 - expected)
    square = np.divide(np.square(counts - frames[:, None] * expected), variance, where=variance > 0, out=0.0 * variance)
    freedom = max(len(frames) - days, 1)
    found: Floats = np.maximum(square.sum(axis=0) / freedom, 1.0)
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateState:
    """CUSUMs, and what was counted since each last was 0: series frames and all frames; [2, S] each."""

    cusum: Floats
    found: Floats
    frames: Floats

    @staticmethod
    def new(reference: RateReference) -> RateState:
        """Nothing counted yet."""
        none = np.zeros_like(reference.edges)
        return RateState(cusum=none, found=none, frames=none)


def step(reference: RateReference, state: RateState, window: WindowCounts) -> RateState:
    """Add a window; an alarm when a CUSUM passes the reference's limit."""
    counts = np.array([window.counts.get(name, 0) for name in reference.names], dtype=np.float64)
    found = np.array([counts, window.frames - counts])
    cusum = state.cusum + log_ratio(found, window.frames, reference.edges) / reference.dispersion
    rising = cusum > 0
    return RateState(
        cusum=np.where(rising, cusum, 0.0),
        found=np.where(rising, state.found + counts, 0.0),
        frames=np.where(rising, state.frames + window.frames, 0.0),
    )


def leading_rate(reference: RateReference, state: RateState) -> str:
    """Name the series whose CUSUM is farthest."""
    _, series = np.unravel_index(int(np.argmax(state.cusum)), state.cusum.shape)
    return reference.names[series]


def rate_finding(reference: RateReference, state: RateState) -> tuple[str, dict[str, float | str]]:
    """Say which rate moved, from what to what, and the figures behind it."""
    side, series = np.unravel_index(int(np.argmax(state.cusum)), state.cusum.shape)
    name, before = reference.names[series], float(reference.centre[series])
    now, frames = float(state.found[side, series] / state.frames[side, series]), int(state.frames[side, series])
    words = f"{name}: {now:.1%} of {frames:,} frames, usually {before:.1%}"
    cusum = float(state.cusum.max())
    return words, {"series": name, "rate": now, "usual_rate": before, "frames": frames, "cusum": cusum}


def log_ratio(found: Floats, frames: float, edges: Floats) -> Floats:
    """Log-likelihood ratio of odds `_ODDS` times those of the edge; 0 where the edge is 1 and nothing can lie beyond.

    >>> log_ratio(np.array([2.0]), 10.0, np.array([0.2])).round(3).tolist()
    [-0.142]
    """
    inside = np.minimum(edges, 1.0 - 1e-12)
    beyond = _ODDS * inside / (1.0 - inside + _ODDS * inside)
    gained = found * np.log(beyond / inside) + (frames - found) * np.log((1.0 - beyond) / (1.0 - inside))
    return np.where(edges < 1.0, gained, 0.0)
