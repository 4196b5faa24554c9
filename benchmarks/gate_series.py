"""Series of challengers at the gate, of models whose true quality is known; with two naive rules beside it.

1. A series is up to ten challengers against one champion. It ends with the first promotion by the gate.
2. The challengers are no better and no worse than the champion on the line. What they share with it, and how they
   were made, is the case: independently; *climbing*, each a variation of the one that looked best so far in the
   report's own number; *blending*, each the sum of all that looked better, which is the strongest attack on a holdout
   that is used again (Blum & Hardt 2015).
3. The peers see the same numbers: promote what has the better average precision; and promote what an unpaired test of
   two average precisions at 5 % says is better, each time anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.evaluate import average_precisions, log_losses
from training.evidence import PairedSet
from training.field_checks import shortage
from training.gate import Answer, judge
from training.gate_policy import GatePolicy
from training.gate_simulation import Line, evidence_of, labelled

CHALLENGERS = 10
RESAMPLES = 200  # of the bootstrap: the error of a standard error from so many is 5 %
POLICY = GatePolicy(resamples=RESAMPLES)
_UNPAIRED = float(stats.norm.ppf(0.95))
_KEEP = 0.7  # how much of the best so far a climbing challenger keeps
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of series.

    Attributes:
        name: For the table.
        line: With its champion.
        labels: Field labels of the first challenger.
        grows: Labels that each later one has more.
        made: How challengers are made: `independent`, `climbing` or `blending`.
        devices: That the labels came from.
    """

    name: str
    line: Line
    labels: int
    grows: int = 0
    made: str = "independent"
    devices: int = 1


CASES = (
    Case(name="60 labels, unequal chances", line=Line(defect_share=0.3), labels=60),
    Case(name="60 labels, climbing", line=Line(defect_share=0.3, unequal=False), labels=60, made="climbing"),
    Case(name="40 labels, 20 more each time, climbing", line=Line(defect_share=0.3), labels=40, grows=20,
         made="climbing"),
    Case(name="400 labels, 5 % defects, 3 devices", line=Line(defect_share=0.05, champion=0.6), labels=400, devices=3),
    Case(name="400 labels, climbing", line=Line(champion=0.8, alike=0.8), labels=400, made="climbing"),
)  # fmt: skip
ATTACK = Case(name="200 labels, blending (an attack)", line=Line(), labels=200, made="blending")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Which rule promoted a challenger that is no better, in one series."""

    gate: bool
    point: bool
    unpaired: bool


def play(case: Case, seed: int) -> Outcome:
    """Play one series."""
    rng = np.random.default_rng([seed, *case.name.encode()])
    most = case.labels + case.grows * (CHALLENGERS - 1)
    have = labelled(case.line, most, rng)
    tried: list[Floats] = []
    seen: list[float] = []
    spent = 0
    gate = point = unpaired = False
    for k in range(CHALLENGERS):
        own = _made(case.made, tried, seen, rng.normal(size=most))
        evidence = evidence_of(have.first(case.labels + k * case.grows), case.line.champion, own, devices=case.devices)
        rows = evidence.field
        assert rows is not None
        assert rows.champion is not None
        truth = evidence.is_defect(rows.labels)
        before, after = (
            float(average_precisions(truth, evidence.probability(p), rows.weight[None, :])[0])
            for p in (rows.champion, rows.challenger)
        )
        tried.append(own)
        seen.append(after - before)
        point |= after > before
        unpaired |= _unpaired(before, after, int(truth.sum()))
        if gate:
            continue
        if after > before or _score(rows, rows.challenger) > _score(rows, rows.champion):
            decision = judge(evidence, POLICY, previous_challengers=spent, seed=seed)
            gate = decision.answer is Answer.PROMOTE
        # Else it cannot be promoted, since a gain is asked for: only whether it spends is to be known.
        spent += int(not shortage(evidence, POLICY, POLICY.error_budget(spent)))
    return Outcome(gate=gate, point=point, unpaired=unpaired)


def _made(how: str, tried: list[Floats], seen: list[float], new: Floats) -> Floats:
    """Make the next challenger's own part: standard normal over the line's frames in every case."""
    if how == "climbing" and tried and max(seen) > 0:
        made: Floats = _KEEP * tried[int(np.argmax(seen))] + np.sqrt(1 - _KEEP**2) * new
        return made
    if how == "blending" and tried and len(tried) == CHALLENGERS - 1:  # nine that tell, and one that uses it
        blend: Floats = np.sum([np.sign(d) * own for d, own in zip(seen, tried, strict=True)], axis=0)
        return np.asarray(blend / np.sqrt(len(tried)))
    return new


def _score(rows: PairedSet, probabilities: NDArray[np.float32]) -> float:
    """Minus the log loss, as the gate takes it."""
    return -float(np.average(log_losses(rows.labels, probabilities, POLICY.log_loss_clip), weights=rows.weight))


def _unpaired(before: float, after: float, defects: int) -> bool:
    error = np.sqrt(sum(max(ap * (1 - ap), 1e-3) for ap in (before, after)) / max(1, defects))
    return bool(after - before > _UNPAIRED * error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What became of one challenger that the gate could not decide about, when what it asked for was labelled.

    Attributes:
        asked: Defects that it asked for.
        decided: Decided with these, or with 1.2 times as many.
        answer: The gate's last.
        gain: The truth.
    """

    asked: int
    decided: bool
    answer: Answer
    gain: float


def follow(line: Line, labels: int, gain: float, seed: int) -> Followed | None:
    """Let the gate ask, label what it asks for, and ask it again; None where it decides at once or cannot ask."""
    rng = np.random.default_rng([seed, labels, round(1_000 * (gain + 1)), round(1_000 * line.defect_share)])
    most = labels * 50
    pool = labelled(line, most, rng)
    own = rng.normal(size=most)
    have = pool.first(labels)
    first = judge(evidence_of(have, line.champion + gain, own), POLICY, seed=seed)
    asked = first.label_more.get("defect", 0)
    if first.answer is not Answer.NOT_ENOUGH or not asked or first.error_budget is None or not first.error_budget.share:
        return None
    answer: Answer = first.answer
    for k, times in enumerate((1.0, 1.2)):
        more = pool.first(pool.until(int(have.labels.sum()) + int(times * asked)))
        answer = judge(
            evidence_of(more, line.champion + gain, own), POLICY, previous_challengers=1 + k, seed=seed
        ).answer
        if answer is not Answer.NOT_ENOUGH:
            return Followed(asked=asked, decided=True, answer=answer, gain=gain)
    return Followed(asked=asked, decided=False, answer=answer, gain=gain)
