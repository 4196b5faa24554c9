"""Models of known quality at the gate: what it can decide with so many labels.

1. A frame's difficulty has a part that both models share and a part of each model's own, normally distributed; the
   logit of a defect is shifted by a separation d (binormal scores). Both models are calibrated to the line's share of
   defects. A challenger with the champion's separation is no better, however its own part falls.
2. Frames are captured and labelled as on a line: with a chance that grows with the champion's uncertainty, over an
   audit share for every frame, and weigh 1/chance. Labels come in the order of the stream, so that more labels of one
   line go on from those that are there.
3. Separations are given as the average precision that they have on the line (numerically inverted).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.decision import Answer
from training.evaluate import Measure, rate
from training.evidence import Evidence, PairedSet
from training.gate import judge
from training.gate_policy import GatePolicy

CLASSES = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="defect", kind=Kind.DEFECT))
_AUDIT = 0.3  # share of the weight that every frame has alike, the client's default
_CAPTURED = 0.2  # of the frames, where chances are unequal: a few times what is labelled
_HARDEST = 6.0  # separations beyond this rank everything right
_RESAMPLES = 200  # the error of a standard error from so many is 5 %
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line and its champion.

    Attributes:
        defect_share: Share of frames that are defects.
        champion: The champion's average precision.
        alike: Share of the variance of errors that two models have in common.
        unequal: Whether frames have unequal chances to be labelled.
    """

    defect_share: float = 0.2
    champion: float = 0.7
    alike: float = 0.5
    unequal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """n labelled frames of a line, in the order of the stream.

    Attributes:
        line: Which.
        labels: int [n], index into `CLASSES`.
        weight: float64 [n], 1/inclusion probability.
        shared: float64 [n], the part of a frame's difficulty that all models share.
        champion: float64 [n], the champion's logits.
    """

    line: Line
    labels: NDArray[np.int64]
    weight: Floats
    shared: Floats
    champion: Floats

    def first(self, n: int) -> Labelled:
        """Return the first n."""
        return replace(
            self,
            labels=self.labels[:n],
            weight=self.weight[:n],
            shared=self.shared[:n],
            champion=self.champion[:n],
        )

    def until(self, defects: int) -> int:
        """Return how many labels there are when so many are defects; all if there are fewer."""
        found = np.flatnonzero(np.cumsum(self.labels) >= defects)
        return int(found[0]) + 1 if found.size else len(self.labels)


def average_precision_of(separation: float, defect_share: float) -> float:
    """Return the average precision of binormal scores, separation in standard deviations.

    >>> round(average_precision_of(0.0, 0.2), 3)
    0.2
    """
    threshold = np.linspace(-10.0, 10.0 + separation, 4_001)
    found = defect_share * special.ndtr(separation - threshold)
    shown = found + (1 - defect_share) * special.ndtr(-threshold)
    precision = np.divide(found, shown, out=np.ones_like(found), where=shown > 1e-300)
    return float(-np.sum((precision[1:] + precision[:-1]) / 2 * np.diff(found)) / defect_share)


def separation_of(precision: float, defect_share: float) -> float:
    """Return the separation that has an average precision; the inverse of `average_precision_of`."""
    if precision <= defect_share:
        return 0.0
    top = average_precision_of(_HARDEST, defect_share)
    if precision >= top:
        return _HARDEST
    return float(optimize.brentq(lambda d: average_precision_of(d, defect_share) - precision, 0.0, _HARDEST))


def labelled(line: Line, n: int, rng: np.random.Generator) -> Labelled:
    """Draw n labelled frames."""
    separation = separation_of(line.champion, line.defect_share)
    parts: list[tuple[NDArray[np.int64], Floats, Floats, Floats]] = []
    while sum(len(part[0]) for part in parts) < n:
        frames = int(n / _CAPTURED) + 200 if line.unequal else n
        labels = (rng.random(frames) < line.defect_share).astype(np.int64)
        shared = rng.normal(size=frames)
        logit = _logit(line, separation, labels, shared, rng.normal(size=frames))
        chance = _chance(logit) if line.unequal else np.ones(frames)
        kept = rng.random(frames) < chance
        parts.append((labels[kept], 1 / chance[kept], shared[kept], logit[kept]))
    columns = [np.concatenate(column)[:n] for column in zip(*parts, strict=True)]
    return Labelled(line=line, labels=columns[0], weight=columns[1], shared=columns[2], champion=columns[3])


def evidence_of(
    have: Labelled, precision: float, own: Floats, *, devices: int = 1, golden: PairedSet | None = None
) -> Evidence:
    """Let a challenger be compared with the champion.

    Args:
        have: The labelled frames.
        precision: The challenger's average precision on the line.
        own: float64 [n], standard normal: the challenger's own part of each frame's difficulty.
        devices: That the frames came from, in turn.
        golden: Golden samples.
    """
    n, line = len(have.labels), have.line
    logit = _logit(line, separation_of(precision, line.defect_share), have.labels, have.shared, own[:n])
    ids = np.array([f"frame-{i}" for i in range(n)])
    device = np.array([f"line-{i % devices + 1}" for i in range(n)])
    field = PairedSet(
        ids=ids,
        labels=have.labels,
        champion=_risk(have.champion),
        challenger=_risk(logit),
        weight=have.weight,
        device=device,
        station=device,
        group=ids,
    )
    return Evidence(classes=CLASSES, field=field, golden=golden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What the gate answers about challengers of one quality, with so many labels.

    Attributes:
        labels: Field labels.
        gain: True gain in average precision.
        promote: Share promoted.
        reject: Share refused.
        asked: Labels in all that it asks for where it cannot tell, median; None where it always could, or named none.
    """

    labels: int
    gain: float
    promote: Measure
    reject: Measure
    asked: int | None


def power(
    policy: GatePolicy, line: Line, *, labels: int, gain: float, previous: int = 0, trials: int = 200, seed: int = 0
) -> Power:
    """Ask the gate about challengers of one quality, each on new labels.

    Args:
        policy: Of the gate.
        line: With its champion.
        labels: How many field labels there are.
        gain: The challengers' true gain in average precision; 0: no better, negative: worse.
        previous: Challengers that spent of the series' error budget before.
        trials: How many.
        seed: Of everything that is drawn.
    """
    quick = replace(policy, resamples=min(policy.resamples, _RESAMPLES))
    rng = np.random.default_rng([seed, labels, round(1_000 * (gain + 1))])
    answers: Counter[Answer] = Counter()
    asked = []
    for trial in range(trials):
        evidence = evidence_of(labelled(line, labels, rng), line.champion + gain, rng.normal(size=labels))
        decision = judge(evidence, quick, previous_challengers=previous, seed=trial)
        answers[decision.answer] += 1
        if decision.label_more:
            asked.append(decision.label_more.get("defect", 0) / line.defect_share)
    return Power(
        labels=labels,
        gain=gain,
        promote=_share(answers[Answer.PROMOTE], trials),
        reject=_share(answers[Answer.REJECT], trials),
        asked=round(float(np.median(asked))) if asked else None,
    )


def power_table(
    policy: GatePolicy,
    line: Line,
    *,
    labels: Sequence[int],
    gains: Sequence[float],
    previous: int = 0,
    trials: int = 200,
    seed: int = 0,
) -> list[Power]:
    """Return `power` for every number of labels and every gain."""
    return [
        power(policy, line, labels=n, gain=gain, previous=previous, trials=trials, seed=seed)
        for n in labels
        for gain in gains
    ]


def _share(count: int, trials: int) -> Measure:
    return rate(np.arange(trials) < count)


def _logit(line: Line, separation: float, labels: NDArray[np.int64], shared: Floats, own: Floats) -> Floats:
    mixed = np.sqrt(line.alike) * shared + np.sqrt(1 - line.alike) * own
    prior = np.log(line.defect_share / (1 - line.defect_share))
    value: Floats = separation * (mixed + separation * (labels - 0.5)) + prior
    return value


def _chance(logit: Floats) -> Floats:
    p = special.expit(logit)
    reason = 1 - np.abs(2 * p - 1)
    weight = reason + _AUDIT / (1 - _AUDIT) * reason.mean()
    chance: Floats = np.minimum(1.0, _CAPTURED * weight / weight.mean())
    return chance


def _risk(logit: Floats) -> NDArray[np.float32]:
    p = special.expit(logit)
    return np.stack([1 - p, p], axis=1).astype(np.float32)
