"""What a label is worth: named signals → the score with which a captured sample is offered to people.

1. A signal is in [0, 1] for each offered sample. Signals: *captured* (how much the device wanted the frame),
   *uncertain* (1 - calibrated margin), *novel* (distance to what is labelled), *rare* (probability of classes with few
   labels), *disagree* (two opinions differ), *cover* (few frames look like it). One that nobody can compute is missing,
   not zero.
2. Each is squared and divided by its mean square over the frames seen, which counts as at least a twentieth: a clear
   case counts more than many faint ones, and a signal that all share drowns no other (as on the device,
   `edge_client/weights.py`). Frames are not seen, only captured ones are: the mean weighs a sample by 1/p₁.
3. What a sample is worth is v = Σ ω·part / Σ ω + a, with the mix's weights ω and the audit part a = φ/(1-φ) · mean of
   the sum over the frames seen. So v is never below φ times its mean: no sample's chance falls below φ times the chance
   it had if all were drawn alike, and a total's variance stays below (1/φ - f)/(1 - f) times that of such a draw of a
   share f.
4. The score is v/p₁. Both stages together then include a frame in proportion to v, whatever the device wanted.
5. Everything that made the score is kept with it, for the page that says why a sample was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import ClassInfo, Kind

Floats = NDArray[np.float64]

AUDIT = "audit"
_LEAST_MEAN = 1 / 20  # of a squared signal: the greatest factor by which it is raised is 20
_LEAST_VALUE = 1e-3  # with all signals at zero every sample still has a score
_CAPTURED_QUANTILE = 0.95  # weights above it are all wanted equally
_K1_BAND = 0.25  # with one class: an anomaly within a quarter of the threshold is uncertain, as on the device
_DEFECT_LEAST = 0.5  # a defect class is never common


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How much each signal counts, and the audit share φ. All zero but φ: every frame alike."""

    captured: float = 1.0
    uncertain: float = 1.0
    novel: float = 0.5
    rare: float = 1.0
    disagree: float = 0.5
    cover: float = 0.5
    audit_share: float = 0.3

    @property
    def weights(self) -> dict[str, float]:
        """Signal → ω."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "audit_share"}


SIGNALS = tuple(Mix().weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Scores of n offered samples.

    Attributes:
        scores: float64 [n], positive: v/p₁.
        values: float64 [n], v.
        signals: Signal → float64 [n] as given; missing ones are not there.
        parts: Signal or ``audit`` → float64 [n], its share of v; they sum to 1.
    """

    scores: Floats
    values: Floats
    signals: Mapping[str, Floats]
    parts: Mapping[str, Floats]

    def why(self, i: int) -> dict[str, Any]:
        """What made one sample's score, as JSON: ``{"signals": {name: 0..1}, "parts": {name: share}}``."""
        return {
            "signals": {name: round(float(values[i]), 4) for name, values in self.signals.items()},
            "parts": {name: round(float(values[i]), 4) for name, values in self.parts.items() if values[i] > 0},
        }


def mix_scores(signals: Mapping[str, Floats], p1: Floats, mix: Mix) -> Scored:
    """Rules 2 to 4.

    Args:
        signals: Signal → float64 [n] in [0, 1].
        p1: float64 [n], chance of each sample to be captured.
        mix: The weights.

    Raises:
        ValueError: A signal is unknown or out of [0, 1], a p₁ is not in (0, 1], or φ not in (0, 1).

    >>> scored = mix_scores({"uncertain": np.array([1.0, 0.0, 0.0])}, np.ones(3), Mix(audit_share=0.3))
    >>> scored.values.round(2).tolist()
    [3.43, 0.43, 0.43]
    """
    first = np.asarray(p1, dtype=np.float64)
    if not ((first > 0).all() and (first <= 1).all()):
        raise ValueError("every p₁ must be in (0, 1]")
    if not 0 < mix.audit_share < 1:
        raise ValueError(f"audit share {mix.audit_share} is not in (0, 1): without it some samples have no chance")
    weights = mix.weights
    for name, values in signals.items():
        if name not in weights:
            raise ValueError(f"signal {name!r} is unknown; known are {sorted(weights)}")
        if not ((values >= 0).all() and (values <= 1).all()):
            raise ValueError(f"signal {name!r} is not in [0, 1]")
    frames = 1.0 / first  # how many frames each sample stands for
    total = sum(weights[name] for name in signals)
    parts: dict[str, Floats] = {}
    for name, values in signals.items():
        if total > 0 and weights[name] > 0:
            square = np.square(values)
            parts[name] = weights[name] / total * square / max(_LEAST_MEAN, _mean(square, frames))
    plain = np.sum(list(parts.values()), axis=0) if parts else np.zeros(len(first))
    audit = mix.audit_share / (1 - mix.audit_share) * max(_LEAST_VALUE, _mean(plain, frames))
    values = plain + audit
    return Scored(
        scores=values / first,
        values=values,
        signals=dict(signals),
        parts={**{name: part / values for name, part in parts.items()}, AUDIT: audit / values},
    )


def captured_signal(weights: Floats, p1: Floats) -> Floats:
    """How much the device wanted each frame: w against the 95 % quantile of the frames seen."""
    if not len(weights):
        return np.zeros(0)
    order = np.argsort(weights)
    seen = np.cumsum(1.0 / p1[order])
    high = float(weights[order][np.searchsorted(seen, _CAPTURED_QUANTILE * seen[-1])])
    return np.clip(weights / high, 0.0, 1.0) if high > 0 else np.zeros(len(weights))


def uncertain_signal(probabilities: Floats, anomaly: Floats, classes: Sequence[ClassInfo]) -> Floats:
    """1 - calibrated margin; what matters first is ok against defect.

    Args:
        probabilities: float64 [n, K]; rows of zeros (no opinion) are fully uncertain.
        anomaly: float64 [n]; nan where unknown. It decides with one class.
        classes: K classes.
    """
    if len(classes) == 1:
        return np.nan_to_num(1.0 - np.clip(np.abs(anomaly - 1.0) / _K1_BAND, 0.0, 1.0), nan=1.0)
    ordered = np.sort(probabilities, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    defect = _defects(classes)
    if 0 < defect.sum() < len(classes):
        margin = np.minimum(margin, np.abs(2.0 * probabilities[:, defect].sum(axis=1) - probabilities.sum(axis=1)))
    return np.clip(1.0 - margin, 0.0, 1.0)


def rare_signal(probabilities: Floats, labelled: Floats, classes: Sequence[ClassInfo]) -> Floats:
    """Probability of classes with few labels; a defect class never counts below one half.

    Args:
        probabilities: float64 [n, K].
        labelled: float64 [K], how many labels each class has.
        classes: K classes.
    """
    if len(classes) == 1:
        return np.zeros(len(probabilities))
    rarity = 1.0 - labelled / max(float(labelled.max()), 1.0)
    rarity = np.maximum(rarity, np.where(_defects(classes), _DEFECT_LEAST, 0.0))
    return np.asarray(np.clip(probabilities @ rarity, 0.0, 1.0), dtype=np.float64)


def disagree_signal(one: Floats, other: Floats) -> Floats:
    """Total variation between two opinions, float64 [n, K] each; a row of nan is no opinion and disagrees with none."""
    apart = 0.5 * np.abs(one - other).sum(axis=1)
    return np.asarray(np.clip(np.nan_to_num(apart, nan=0.0), 0.0, 1.0), dtype=np.float64)


def _mean(values: Floats, frames: Floats) -> float:
    return float(np.sum(values * frames) / frames.sum()) if len(values) else 0.0


def _defects(classes: Sequence[ClassInfo]) -> NDArray[np.bool_]:
    return np.array([c.kind is Kind.DEFECT for c in classes], dtype=np.bool_)
