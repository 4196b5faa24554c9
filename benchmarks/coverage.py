"""How often the intervals that people are shown hold the truth, over lines, draws and both stages of sampling.

A line of N frames with rare defects passes the device's sampler under a byte budget; of what counts, some are labelled,
drawn by the second stage's priority sampling with the score w/p₁. From those labels come the defect rate
(`rate_interval`) and the recall (`recall_interval`: what the engine stopped is known, for somebody looks at each
rejected part; what it missed is estimated from labelled frames that passed).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.sampled_line import NO_BOUND, THRESHOLD, Drawn, Line, answers, through_sampler, weights_of
from data.intervals import rate_interval, recall_interval
from data.priority_sampling import priority_sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A line, what is kept of it and what is labelled.

    Attributes:
        frames: N.
        defect_rate: Chance that a frame is a defect.
        kept: Share of the bytes that the device keeps.
        labelled: Frames that people label; what counts, if that is less.
        helps: How well the engine tells defects (0: not at all).
        audit_share: φ.
    """

    frames: int = 10_000
    defect_rate: float = 0.01
    kept: float = 0.02
    labelled: int = 10_000
    helps: float = 1.0
    audit_share: float = 0.3


SETTINGS = {
    "1 % defects, 2 % kept": Setting(),
    "1 % defects, 4 % kept, 200 labelled": Setting(kept=0.04, labelled=200),
    "1 % defects, 2 % kept, a weak engine": Setting(helps=0.5),
    "1 % defects, 2 % kept, an engine that cannot tell": Setting(helps=0.0),
    "5 % defects, 10 % kept, 2,000 frames": Setting(frames=2_000, defect_rate=0.05, kept=0.1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What came of a setting; each list has one entry a draw.

    Attributes:
        rate_held: Whether the rate's interval holds the truth.
        recall_held: Whether the recall's lower end lies below the truth.
        rate_width: Width of the rate's interval, as a multiple of the rate.
        recall_low: The recall's lower end.
    """

    rate_held: list[bool]
    recall_held: list[bool]
    rate_width: list[float]
    recall_low: list[float]


def line_of(setting: Setting, seed: int) -> Line:
    """Make a line of one window."""
    random = np.random.default_rng(seed)
    found = answers(random, setting.frames, setting.defect_rate, helps=setting.helps)
    weight, _ = weights_of(found, audit_shares=(setting.audit_share,), seed=seed)
    return Line(
        answers=found,
        weight=weight,
        window=np.ones(setting.frames, dtype=np.int64),
        station=np.zeros(setting.frames, dtype=np.int64),
        budgets=(int(setting.kept * found.bytes.sum()),),
        pools=(NO_BOUND,),
    )


def labelled(drawn: Drawn, weight: np.ndarray, n: int, random: np.random.Generator) -> Drawn:
    """Draw the second stage."""
    if n >= len(drawn.rows):
        return drawn
    scores = weight[drawn.rows] / drawn.p
    second = priority_sample(scores.tolist(), (1.0 - random.random(len(scores))).tolist(), n)
    return Drawn(drawn.rows[second.drawn], (drawn.p * second.p)[second.drawn])


def coverage(setting: Setting, lines: int, draws: int, seed: int = 0) -> Coverage:
    """Draw several lines several times each."""
    found = Coverage(rate_held=[], recall_held=[], rate_width=[], recall_low=[])
    for number in range(lines):
        line = line_of(setting, seed * 1000 + number)
        random = np.random.default_rng([seed, number])
        defect, passed = line.answers.defect, line.answers.probability < THRESHOLD
        rate, caught = float(defect.mean()), int((defect & ~passed).sum())
        recall = caught / max(1, int(defect.sum()))
        for _ in range(draws):
            first = through_sampler(line, 1.0 - random.random(line.frames))
            known = labelled(first, line.weight, setting.labelled, random)
            y = defect[known.rows].astype(float)
            interval = rate_interval(y, known.p, line.frames)
            found.rate_held.append(interval.low <= rate <= interval.high)
            found.rate_width.append((interval.high - interval.low) / rate)
            ok = passed[known.rows]
            _, low, _ = recall_interval(caught, y[ok], known.p[ok])
            found.recall_held.append(low <= recall)
            found.recall_low.append(low)
    return found
