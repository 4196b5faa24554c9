"""Whether a quantity moved by more than the policy allows: staged devices before and after, against controls. Pure.

1. A device's own change is its rate after less its rate before. The effect is the mean change of the staged devices,
   less that of the controls in the same time (difference in differences): what happens to the whole line, such as
   another product, is not the engine's doing. Without two controls it is the mean change alone.
2. A device's variance is that over its batches (`data/rollouts/records.py`), never less than the binomial one. The
   variance of the mean is what the devices' own variances give; where ten devices or more spread over twice as much,
   it is what their spread gives: lines differ.
3. Evidence is looked at every minute. The bounds hold at all looks at once: the estimate's process in information time
   I = 1/s² is a Brownian motion (Jennison & Turnbull 1997), and Robbins' normal mixture bounds it for all I together:
   |estimate - effect| <= s sqrt((1 + r/I) ln((1 + I/r)/a²)) with chance 1 - a (Robbins 1970). r is the information at
   which s is a fifth of the limit: there the bound is near its tightest.
4. A variance from few batches or devices is itself uncertain: the bound is widened as Student's t widens a normal one
   (Wallace 1959).
5. `BAD`: the effect surely exceeds the limit. `UNCLEAR`: the estimate does, but not surely. `FINE`: it does not.
   `TOO_FEW`: nothing can be said yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean, median, variance
from typing import Any

from data.rollouts.records import ANOMALY, Record, Sums

LEAST_BATCHES = 8  # below, a variance over batches says too little
LEAST_SPREAD = 10  # devices from which their spread is believed: of fewer it is hardly known
_MORE_THAN_CHANCE = 2.0  # of ten like devices the spread is rarely above this multiple of what they themselves show
_ALIKE = 4.0  # frames of one part that count as one, where batches are too few to say
_LATENCY = "p99 latency"
_LEAST_REPORTS = 3  # heartbeats whose median latency is compared
LATENCY_FLOOR_MS = 5.0  # p99 below it is no harm on any line, whatever its ratio: timers and neighbours make as much


class Finding(Enum):
    """What a comparison says."""

    FINE = "fine"
    UNCLEAR = "unclear"
    BAD = "bad"
    TOO_FEW = "too few"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One quantity, judged.

    Attributes:
        name: What is compared, for people.
        value: The effect.
        low, high: Bounds that hold at every look together; equal to `value` where the rule is a fixed threshold.
        limit: That the policy allows.
        devices, controls: How many were compared.
        frames: Of the staged devices, under the new version.
    """

    name: str
    finding: Finding
    value: float = 0.0
    low: float = 0.0
    high: float = 0.0
    limit: float
    devices: int = 0
    controls: int = 0
    frames: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON; bounds that do not bound are null."""
        return {
            "name": self.name,
            "finding": self.finding.value,
            "value": self.value,
            "low": self.low if math.isfinite(self.low) else None,
            "high": self.high if math.isfinite(self.high) else None,
            "limit": self.limit,
            "devices": self.devices,
            "controls": self.controls,
            "frames": self.frames,
        }

    def sentence(self) -> str:
        """In a sentence, with its n."""
        if self.finding is Finding.TOO_FEW:
            return f"{self.name}: too few frames to say (limit {self.limit:g})"
        against = f"against {self.controls} controls" if self.controls else "without controls"
        bounds = f" (surely between {self.low:+.3g} and {self.high:+.3g})" if self.low < self.high < math.inf else ""
        value = f"{self.value:.2f} times what it was" if self.name == _LATENCY else f"{self.value:+.3g}"
        devices = "1 device" if self.devices == 1 else f"{self.devices} devices"
        return f"{self.name}: {value}{bounds}, limit {self.limit:g}; {devices}, {self.frames:,} frames, {against}"


@dataclass(frozen=True, slots=True)
class _Mean:
    """A mean over devices with its variance and the degrees of freedom of that."""

    value: float
    variance: float
    freedom: float


def compare_rate(
    name: str,
    quantity: str,
    staged: Sequence[Record],
    controls: Sequence[Record],
    *,
    limit: float,
    min_frames: int,
    error: float,
    two_sided: bool = True,
) -> Comparison:
    """Compare a rate.

    Args:
        name: For people.
        quantity: Its name in the records' sums.
        staged: Devices that the version was rolled out to.
        controls: Devices of the same channel that it was not.
        limit: Largest shift that is allowed; above 0.
        min_frames: Under each version before a device counts.
        error: Chance that the bounds ever fail.
        two_sided: Whether a fall counts as a rise does.
    """
    moved = [_change(r.after, r.before, quantity, min_frames) for r in staged]
    steady = [_change(r.later, r.earlier, quantity, min_frames) for r in controls]
    mine, theirs = [m for m in moved if m is not None], [s for s in steady if s is not None]
    if not mine:
        return Comparison(name=name, finding=Finding.TOO_FEW, limit=limit)
    effect = _mean_of(mine)
    if len(theirs) >= 2:
        control = _mean_of(theirs)
        effect = _difference(effect, control)
    else:
        theirs = []
    width = bound(effect.variance, effect.freedom, limit=limit, error=error)
    low, high = effect.value - width, effect.value + width
    size = abs(effect.value) if two_sided else effect.value
    finding = Finding.BAD if size - width > limit else Finding.UNCLEAR if size > limit else Finding.FINE
    return Comparison(
        name=name,
        finding=finding,
        value=effect.value,
        low=low,
        high=high,
        limit=limit,
        devices=len(mine),
        controls=len(theirs),
        frames=sum(r.after.frames for r, m in zip(staged, moved, strict=True) if m is not None),
    )


def compare_latency(staged: Sequence[Record], controls: Sequence[Record], *, limit: float) -> Comparison:
    """Compare p99 latencies by a fixed threshold: medians over heartbeats, then over devices, as a ratio."""
    mine = [(_settled(r.p99_after), _settled(r.p99_before), r) for r in staged]
    ratios = [(after / before, after, r) for after, before, r in mine if after and before]
    theirs = [
        ratio for r in controls if (ratio := _ratio(r.p99_before[len(r.p99_before) // 2 :], r.p99_before)) is not None
    ]
    if not ratios:
        return Comparison(name=_LATENCY, finding=Finding.TOO_FEW, limit=limit)
    usual = median(theirs) if len(theirs) >= 2 else 1.0
    value = median(ratio for ratio, _, _ in ratios) / max(1.0, usual)
    slow = median(after for _, after, _ in ratios) > LATENCY_FLOOR_MS
    return Comparison(
        name=_LATENCY,
        finding=Finding.BAD if value > limit and slow else Finding.FINE,
        value=value,
        low=value,
        high=value,
        limit=limit,
        devices=len(ratios),
        controls=len(theirs) if len(theirs) >= 2 else 0,
        frames=sum(r.after.frames for _, _, r in ratios),
    )


def bound(variance_of_mean: float, freedom: float, *, limit: float, error: float) -> float:
    """How far an estimate may be from the truth at any look (rules 3 and 4)."""
    if variance_of_mean <= 0:
        return 0.0
    information, tightest = 1 / variance_of_mean, 25 / limit**2
    z = math.sqrt((1 + tightest / information) * math.log((1 + information / tightest) / error**2))
    return math.sqrt(variance_of_mean) * widened(z, freedom)


def widened(z: float, freedom: float) -> float:
    """The multiple of Student's t with the same tail as `z` of the normal, after Wallace (1959).

    >>> round(widened(1.96, 10), 2), round(widened(1.96, 1e9), 2)
    (2.23, 1.96)
    """
    exponent = (z * (8 * freedom + 3) / (8 * freedom + 1)) ** 2 / freedom
    return math.inf if exponent > 700 else math.sqrt(freedom * math.expm1(exponent))


def _change(after: Sums, before: Sums, quantity: str, min_frames: int) -> _Mean | None:
    """One device's change (rule 2); None with too few frames."""
    if min(after.frames, before.frames) < min_frames:
        return None
    parts = [_variance(sums, quantity) for sums in (after, before)]
    if parts[0] is None or parts[1] is None:
        return None
    (a, n), (b, m) = parts[0], parts[1]
    return _Mean(after.rate(quantity) - before.rate(quantity), a + b, _together(a, n, b, m))


def _variance(sums: Sums, quantity: str) -> tuple[float, float] | None:
    """Variance of a rate and its degrees of freedom; None where nothing is known of it."""
    over = sums.variance(quantity) if sums.batches >= LEAST_BATCHES else None
    freedom = float(sums.batches - 1)
    if quantity == ANOMALY:
        return None if over is None else (over, freedom)
    share = (sums.rate(quantity) * sums.frames + 1) / (sums.frames + 2)
    binomial = share * (1 - share) / sums.frames
    if over is None:
        return _ALIKE * binomial, 1e9
    return (over, freedom) if over > binomial else (binomial, 1e9)


def _mean_of(changes: Sequence[_Mean]) -> _Mean:
    n = len(changes)
    value = fmean(change.value for change in changes)
    within = sum(change.variance for change in changes) / n**2
    total = sum(change.variance**2 / change.freedom for change in changes)
    freedom = sum(change.variance for change in changes) ** 2 / total if total > 0 else 1e9
    if n >= LEAST_SPREAD:
        spread = variance(change.value for change in changes) / n
        if spread > _MORE_THAN_CHANCE * within:
            return _Mean(value, spread, float(n - 1))
    return _Mean(value, within, freedom)


def _difference(one: _Mean, other: _Mean) -> _Mean:
    return _Mean(
        one.value - other.value,
        one.variance + other.variance,
        _together(one.variance, one.freedom, other.variance, other.freedom),
    )


def _together(a: float, n: float, b: float, m: float) -> float:
    """Degrees of freedom of a sum of variances (Welch 1947; Satterthwaite 1946)."""
    below = a * a / n + b * b / m
    return (a + b) ** 2 / below if below > 0 else 1e9


def _settled(values: Sequence[float]) -> float | None:
    return median(values) if len(values) >= _LEAST_REPORTS else None


def _ratio(after: Sequence[float], before: Sequence[float]) -> float | None:
    one, other = _settled(after), _settled(before)
    return one / other if one and other else None
