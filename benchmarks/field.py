"""How often the intervals of the field's rate, recall and precision hold the truth, and how wide they are.

A week is a line of 10,500 frames in seven windows with 0.2, 1 or 5 % defects, a tenth of them of a kind that the engine
has never seen. The frames are weighed by the device's own weigher and pass its own sampler under a byte budget; what
counts is drawn again for labelling where it is more than people label. Two engines tell defects equally well: the
one's probabilities are calibrated to the line, the other's to balanced training data, and they are too sure of
themselves. A third cannot tell defects at all. From the labels come rate, recall and precision as `andon report` shows
them, from labels alone and with what the window records say of all frames (`data/difference.py`).

Peers for the rate, on the same labels: `rate_interval`, Wald's interval round either estimate, and prediction-powered
inference as it is published for a plain random sample, without and with power tuning (Angelopoulos et al. 2023), which
has no place for unequal probabilities.

Figures: the least coverage of any setting (nominal 0.95; recall and precision are conservative by construction), and
the ratio of the widths of the rate's intervals, with what is known of all frames over without.

    python -m benchmarks.field [--json] [--weeks 1000]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.coverage import labelled
from benchmarks.result import Row, ratio_of_means, tell
from benchmarks.sampled_line import NO_BOUND, Answers, Floats, Line, through_sampler, weights_of
from data.difference import Auxiliary, estimate_total
from data.field_measures import Truth, precision_of, rate_of, recall_of
from data.intervals import Estimate, rate_interval
from edge_client.tally import PROBABILITY_EDGES
from training.evaluate import Measure

FRAMES, WINDOWS = 10_500, 7
DRAWS = 10  # of each line; weighing it is what takes time
UNKNOWN_KIND = 0.1  # of the defects look to the engine like any frame
SEPARATION = 4.0  # standard deviations between what the engine sees of ok frames and of defects
THRESHOLD, UNSURE = 0.5, 0.2  # `defect` and `unsure` begin here
_Z = 1.959964
_ROUNDING = 1e-9  # where everything is labelled the interval is a point
ENGINES = ("calibrated", "badly calibrated", "cannot tell")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A line, what is kept of it and what is labelled.

    Attributes:
        defect_rate: Chance that a frame is a defect.
        engine: One of `ENGINES`.
        kept: Share of the bytes that the device keeps.
        labelled: Frames that people label, at most.
    """

    defect_rate: float
    engine: str
    kept: float
    labelled: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{100 * self.defect_rate:g} % defects, {self.engine}, {100 * self.kept:g} % kept"


SETTINGS = (
    *(
        Setting(defect_rate=rate, engine=engine, kept=0.02, labelled=200)
        for rate in (0.002, 0.01, 0.05)
        for engine in ENGINES[:2]
    ),
    Setting(defect_rate=0.01, engine="cannot tell", kept=0.02, labelled=200),
)


@dataclass(frozen=True, slots=True)
class Week:
    """A week's frames, and what the engine said of them as a record tells it."""

    line: Line
    verdict: NDArray[np.int64]
    score: Floats
    totals: Floats


def answers_of(random: np.random.Generator, rate: float, engine: str) -> Answers:
    """Make frames and an engine's answers."""
    defect = random.random(FRAMES) < rate
    seen = defect & (random.random(FRAMES) >= UNKNOWN_KIND)
    shift = 0.0 if engine == "cannot tell" else SEPARATION
    x = random.normal(0, 1, FRAMES) + shift * seen
    evidence = shift * (x - shift / 2)  # of a defect that it knows, as a log-likelihood ratio
    logit = {
        "calibrated": evidence + np.log(rate / (1 - rate)),
        "badly calibrated": 1.5 * evidence,
        "cannot tell": 1.5 * x - 3.0,
    }[engine]
    embeddings = random.normal(size=(FRAMES, 16)) + np.eye(16)[0] * 3
    embeddings += np.eye(16)[1] * 2 * (seen & (shift > 0))[:, None]
    return Answers(
        defect=defect,
        probability=1 / (1 + np.exp(-logit)),
        anomaly=np.maximum(0.0, random.normal(np.where(seen & (shift > 0), 0.9, 0.6), 0.12)),
        embeddings=(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32),
        bytes=(5 + 40 * random.random(FRAMES) + 20 * defect * random.random(FRAMES)).astype(np.int64),
    )


@cache
def weighed(rate: float, engine: str, seed: int) -> tuple[Answers, Floats]:
    """Make frames and weigh them: the same for every budget."""
    found = answers_of(np.random.default_rng([seed, round(1e4 * rate), ENGINES.index(engine)]), rate, engine)
    weight, _ = weights_of(found, seed=seed)
    return replace(found, embeddings=found.embeddings[:0]), weight


def week_of(setting: Setting, seed: int) -> Week:
    """Make a week."""
    found, weight = weighed(setting.defect_rate, setting.engine, seed)
    window = np.arange(FRAMES) * WINDOWS // FRAMES + 1
    line = Line(
        answers=found,
        weight=weight,
        window=window,
        station=window,
        budgets=tuple(int(setting.kept * found.bytes[window == k].sum()) for k in range(1, WINDOWS + 1)),
        pools=(NO_BOUND,) * WINDOWS,
    )
    edges = np.array(PROBABILITY_EDGES)
    cell = np.clip(np.searchsorted(edges, found.probability, side="right") - 1, 0, len(edges) - 2)
    score = (edges[cell] + edges[cell + 1]) / 2
    verdict = np.where(found.probability >= THRESHOLD, 2, np.where(found.probability >= UNSURE, 1, 0))
    totals = np.array([score[verdict == k].sum() for k in range(3)])
    return Week(line, verdict, score, totals)


def truth_of(week: Week, rows: NDArray[np.int64], p: Floats) -> Truth:
    """The labelled frames of a week."""
    verdict = week.verdict[rows]
    return Truth(
        y=week.line.answers.defect[rows].astype(float),
        p=p,
        verdict=verdict,
        called=verdict == 2,
        score=week.score[rows],
        totals=week.totals,
        told=True,
        population=FRAMES,
        passed=int((week.verdict == 0).sum()),
        rejected=int((week.verdict == 2).sum()),
    )


@dataclass
class Outcome:
    """What came of a setting: what each interval of each number did, week by week.

    Attributes:
        held: (number, way) → whether the interval holds the truth.
        width: (number, way) → its width; of a rate over the rate.
        error: (number, way) → estimate over truth; nan where it has none.
    """

    held: dict[tuple[str, str], list[bool]] = field(default_factory=lambda: defaultdict(list))
    width: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    error: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, number: str, way: str, found: Estimate, truth: float) -> None:
        """One interval."""
        if found.n == 0:
            return
        scale = truth if number == "rate" else 1.0
        self.held[number, way].append(found.low - _ROUNDING <= truth <= found.high + _ROUNDING)
        self.width[number, way].append((found.high - found.low) / scale)
        self.error[number, way].append(found.value / truth if truth else float("nan"))


def weeks_of(setting: Setting, weeks: int, *, first: int = 0) -> Outcome:
    """Live through weeks from line `first` on; every `DRAWS` of them are the same line drawn anew."""
    outcome = Outcome()
    for seed in range(first, first - (-weeks // DRAWS)):
        week = week_of(setting, seed)
        defect, verdict = week.line.answers.defect, week.verdict
        rate, rejected = float(defect.mean()), verdict == 2
        recall = float((defect & (verdict > 0)).sum() / max(1, defect.sum()))
        precision = float((defect & rejected).sum() / max(1, rejected.sum()))
        random = np.random.default_rng([seed, 1])
        for _ in range(DRAWS):
            captured = through_sampler(week.line, 1.0 - random.random(FRAMES))
            drawn = labelled(captured, week.line.weight, setting.labelled, random)
            truth = truth_of(week, drawn.rows, drawn.p)
            for way, known in ((ALONE, truth.plain()), (KNOWN, truth)):
                outcome.add("rate", way, rate_of(known), rate)
                if defect.any():
                    outcome.add("recall", way, recall_of(known), recall)
                if rejected.any():
                    outcome.add("precision", way, precision_of(known), precision)
            for way, peer in peers(week, truth).items():
                outcome.add("rate", way, peer, rate)
    return outcome


ALONE, KNOWN = "labels alone", "all frames known"


def peers(week: Week, truth: Truth) -> dict[str, Estimate]:
    """Other intervals of the rate from the same labels."""
    y, p, m, n = truth.y, truth.p, truth.score, len(truth.y)

    def wald(value: float, variance: float) -> Estimate:
        reach = _Z * max(variance, 0.0) ** 0.5
        return Estimate(value=value, low=value - reach, high=value + reach, n=n, population=FRAMES)

    plain = estimate_total(y, p, size=FRAMES)
    known = Auxiliary(score=m, group=truth.verdict, totals=truth.totals)
    tuned = estimate_total(y, p, size=FRAMES, known=known)
    mean, spread = float(week.score.mean()), float(week.score.var())

    def powered(share: float) -> Estimate:
        """For a plain random sample of n."""
        variance = float(np.var(y - share * m, ddof=1)) / n + share**2 * spread / FRAMES
        return wald(float(np.mean(y)) + share * (mean - float(np.mean(m))), variance)

    covariance = float(np.cov(y, m)[0, 1])
    best = min(1.0, max(0.0, covariance / ((1 + n / FRAMES) * max(spread, 1e-12))))
    return {
        "rate_interval": rate_interval(y, p, FRAMES),
        "Wald, labels alone": wald(plain.value / FRAMES, plain.variance / FRAMES**2),
        "Wald, all frames known": wald(tuned.value / FRAMES, tuned.variance / FRAMES**2),
        "PPI for a random sample": powered(1.0),
        "PPI++ for a random sample": powered(best),
    }


def share(held: list[bool]) -> Measure:
    """A coverage with Wilson's interval."""
    n, value = len(held), float(np.mean(held))
    middle = (value + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z / (1 + _Z**2 / n) * (value * (1 - value) / n + _Z**2 / (4 * n**2)) ** 0.5
    return Measure(value=value, low=middle - reach, high=middle + reach, n=n)


def main() -> None:
    """Live through every setting's weeks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, help="not used: nothing is embedded")
    parser.add_argument("--weeks", type=int, default=1000, help="of each setting; every ten share a line")
    args = parser.parse_args()
    rows: list[Row] = []
    worst: dict[str, Measure] = {}
    widths: dict[str, list[float]] = {ALONE: [], KNOWN: []}
    for setting in SETTINGS:
        outcome = weeks_of(setting, args.weeks)
        for (number, way), held in outcome.held.items():
            told = share(held)
            case = f"{setting.name}: {number}, {way}"
            rows.append(Row(case=f"{case}: held", unit="", median=told.value, low=told.low, high=told.high, n=told.n))
            rows.append(
                Row.of(f"{case}: width{' over rate' if number == 'rate' else ''}", "", outcome.width[number, way])
            )
            if way == KNOWN and (number not in worst or told.value < worst[number].value):
                worst[number] = told
        for number in ("rate", "recall", "precision"):
            ratio = ratio_of_means(outcome.width[number, KNOWN], outcome.width[number, ALONE])
            rows.append(
                Row(
                    case=f"{setting.name}: {number}, mean width, all frames known over labels alone",
                    unit="", median=ratio.value, low=ratio.low, high=ratio.high, n=ratio.n,
                )
            )  # fmt: skip
        for way in (ALONE, KNOWN):
            errors = np.array(outcome.error["rate", way])
            rows.append(Row.of(f"{setting.name}: rate, {way}: estimate over truth", "", errors.tolist()))
        usual = float(np.mean(outcome.width["rate", ALONE]))
        for way, every in widths.items():  # each setting counts alike, however wide its intervals are
            every += [width / usual for width in outcome.width["rate", way]]
    figures = {f"coverage_{number}": worst[number] for number in ("rate", "recall", "precision")}
    figures["width_ratio"] = ratio_of_means(widths[KNOWN], widths[ALONE])
    tell("field", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
