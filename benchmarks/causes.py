"""Causes: is a planted effect found across stations, how small may it be, and how much of what is found is chance?

`planted_line` plants a rise of cracks at the last station with humidity at the first, joined by part id, among 200
variables that go with nothing: drifting, differing by shift, device and time of day, heavy-tailed, texts; one at each
station also decides which frames are kept. Each repeat makes the line anew, lets it be kept and labelled by priority
sampling with informative weights, and analyses it as `andon causes` does. In the same run, on the same parts: the peer
that everyone has (Spearman's and the chi-square test of each variable, unweighted, Benjamini-Hochberg at the same
level), the same test unweighted but within shifts, and weighted but without strata.

    python -m benchmarks.causes [--json] [--repeats 200] [--only labels|outcomes]

Two settings, 6,000 parts each: *labels*, 1,000 frames of the last station are labelled; *outcomes*, the end of the
line tells of every part. Each station keeps half of its frames, so humidity is known of half of the parts; 8 % are
cracked.

Figures, for outcomes and (with the suffix `_labels`) for labels: `power_at_rr_2`, `power_at_rr_3` (the risk in the
highest fifth of humidity is that many times the risk in the lowest), `smallest_ratio_80` (the smallest ratio found with
80 % power, interpolated), `false_discovery_proportion` (mean over all repeats and ratios; at most 0.1 is promised),
`any_false_at_no_effect` (share of repeats with any discovery where nothing is planted), `lag_found` (found ones whose
lag is within two minutes of the truth), `peer_false_discovery_proportion` (Spearman and chi-square).
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.planted_line import LAG_SECONDS, PLANTED, Planted, Setting, draw
from benchmarks.result import Row, tell
from data.causes import Settings
from data.causes.analysis import analyse_linked
from data.causes.discoveries import q_values
from data.causes.findings import Association
from data.causes.phrases import Phrase
from data.causes.variables import variable_of
from data.intervals import clopper_pearson
from training.evaluate import Measure

FDR = 0.1
OURS, PEER = "andon causes", "Spearman and chi-square"
SETTINGS = {
    "labels": [Setting(ratio=ratio) for ratio in (1.0, 2.0, 3.0, 6.0, 10.0)],
    "outcomes": [Setting(ratio=ratio, outcomes=True) for ratio in (1.0, 2.0, 3.0, 4.0)],
}
Discovery = tuple[str, str, str]  # target, station, variable
TRUE: Discovery = ("crack", *PLANTED)


@dataclass(slots=True)
class Score:
    """What a way of looking said, by repeat."""

    found: list[bool] = field(default_factory=list)
    proportion: list[float] = field(default_factory=list)  # of false ones among its discoveries
    false: list[int] = field(default_factory=list)

    def add(self, discoveries: Sequence[Discovery], planted: bool) -> None:
        """Judge one repeat."""
        true = planted and TRUE in discoveries
        false = len(discoveries) - int(true)
        self.found.append(true)
        self.false.append(false)
        self.proportion.append(false / max(1, len(discoveries)))


def ours(planted: Planted, seed: int) -> tuple[list[Discovery], list[Discovery], Association | None, int]:
    """What `andon causes` finds, what it would without strata, the planted one, and the parts it rests on."""
    causes = analyse_linked("line", [planted.linked], Settings(fdr=FDR, seed=seed))
    found = [(a.target, a.station, a.variable) for a in causes.found]
    unstratified = [(a.target, a.station, a.variable) for a in causes.associations if a.q_first <= FDR]
    hit = next((a for a in causes.found if (a.target, a.station, a.variable) == TRUE), None)
    return found, unstratified, hit, causes.speaks[0].joined[PLANTED[0]]


def naive(planted: Planted) -> list[Discovery]:
    """One test a variable, as a notebook would: Spearman, or chi-square; Benjamini-Hochberg over all."""
    tested: list[tuple[Discovery, float]] = []
    for table in planted.linked.tables:
        labelled = np.flatnonzero(table.labelled > 0)
        for name, values in table.values.items():
            told = values[labelled] if isinstance(values, np.ndarray) else [values[i] for i in labelled.tolist()]
            variable = variable_of(name, told, np.ones(len(labelled)), table.at[labelled])
            if isinstance(variable, Phrase):
                continue
            for column, target in enumerate(planted.linked.targets):
                y = table.positive[labelled][variable.rows, column].astype(float)
                if variable.numbers is not None:
                    p = float(stats.spearmanr(variable.numbers, y).pvalue)
                else:
                    _, level = np.unique(variable.texts, return_inverse=True)
                    counts = np.stack([np.bincount(level, y), np.bincount(level, 1 - y)])
                    counts = counts[:, counts.sum(axis=0) >= 5]
                    p = float(stats.chi2_contingency(counts).pvalue) if counts.sum(axis=1).min() > 0 else 1.0
                tested.append(((target, table.station, name), p))
    q = q_values([p for _, p in tested])
    return [discovery for (discovery, _), value in zip(tested, q, strict=True) if value <= FDR]


def run(setting: Setting, repeats: int, seed: int) -> tuple[dict[str, Score], list[float], list[int], list[float]]:
    """Repeat one setting; scores by way, lags of what was found, parts joined, and its ratios within shifts."""
    scores: dict[str, Score] = defaultdict(Score)
    lags: list[float] = []
    joined: list[int] = []
    ratios: list[float] = []
    effect = setting.ratio > 1
    for repeat in range(repeats):
        planted = draw(setting, seed * 100_000 + repeat)
        found, unstratified, hit, parts = ours(planted, repeat)
        joined.append(parts)
        scores[OURS].add(found, effect)
        scores["weighted, without strata"].add(unstratified, effect)
        scores[PEER].add(naive(planted), effect)
        if hit is not None and hit.lag is not None and effect:
            lags.append(hit.lag.median)
            ratios.append(hit.effect.within.value if hit.effect else float("nan"))
    return scores, lags, joined, ratios


def share(hits: Sequence[bool]) -> Measure:
    """A share of repeats with its exact interval."""
    low, high = clopper_pearson(sum(hits), len(hits))
    return Measure(value=float(np.mean(hits)), low=low, high=high, n=len(hits))


def mean(values: Sequence[float], seed: int = 0) -> Measure:
    """A mean over repeats with its bootstrap interval."""
    array = np.asarray(values, dtype=float)
    rows = np.random.default_rng(seed).integers(0, len(array), size=(2_000, len(array)))
    low, high = (float(q) for q in np.quantile(array[rows].mean(axis=1), [0.025, 0.975]))
    return Measure(value=float(array.mean()), low=low, high=high, n=len(array))


def smallest(hits: Sequence[tuple[float, Sequence[bool]]], seed: int = 0, power: float = 0.8) -> Measure:
    """The ratio found with this power, interpolated in its logarithm; nan if none of those tried is."""
    random = np.random.default_rng(seed)
    ratios = np.log([ratio for ratio, _ in hits])
    table = [np.asarray(found, dtype=float) for _, found in hits]

    def crossing(take: Callable[[np.ndarray], np.ndarray]) -> float:
        powers = np.maximum.accumulate([take(found).mean() for found in table])
        above = np.flatnonzero(powers >= power)
        if not above.size or above[0] == 0:
            return float("nan")
        i = above[0]
        between = (power - powers[i - 1]) / (powers[i] - powers[i - 1])
        return float(np.exp(ratios[i - 1] + between * (ratios[i] - ratios[i - 1])))

    again = [crossing(lambda found: random.choice(found, size=len(found))) for _ in range(500)]
    known = [value for value in again if not np.isnan(value)]
    low, high = np.quantile(known, [0.025, 0.975]) if known else (float("nan"), float("nan"))
    return Measure(value=crossing(lambda found: found), low=float(low), high=float(high), n=len(table[0]))


def case(name: str, repeats: int, seed: int) -> tuple[list[Row], dict[str, Measure]]:
    """All ratios of one setting."""
    rows: list[Row] = []
    end = "" if name == "outcomes" else f"_{name}"
    figures: dict[str, Measure] = {}
    power: list[tuple[float, list[bool]]] = []
    proportions: dict[str, list[float]] = defaultdict(list)
    lags: list[float] = []
    for number, setting in enumerate(SETTINGS[name]):
        scores, seen, joined, ratios = run(setting, repeats, 10 * seed + number)
        lags += seen
        what = f"{name}, ratio {setting.ratio:g}"
        print(f"{what}: {repeats} repeats", file=sys.stderr, flush=True)
        rows.append(Row.of(f"{what}: parts with humidity known", "parts", [float(n) for n in joined]))
        for way, score in scores.items():
            if setting.ratio > 1:
                rows.append(_row(f"{what}: {way}, planted one found", "of repeats", share(score.found)))
            rows.append(_row(f"{what}: {way}, false discovery proportion", "of found", mean(score.proportion)))
            rows.append(Row.of(f"{what}: {way}, false discoveries", "a repeat", [float(n) for n in score.false]))
            proportions[way] += score.proportion
        if ratios:
            rows.append(Row.of(f"{what}: ratio within shifts, of those found", "ratio", ratios))
        ours = scores[OURS]
        if setting.ratio > 1:
            power.append((setting.ratio, ours.found))
            if setting.ratio in (2.0, 3.0):
                figures[f"power_at_rr_{setting.ratio:g}{end}"] = share(ours.found)
        else:
            figures[f"any_false_at_no_effect{end}"] = share([n > 0 for n in ours.false])
    figures[f"smallest_ratio_80{end}"] = smallest(power)
    figures[f"false_discovery_proportion{end}"] = mean(proportions[OURS])
    figures[f"peer_false_discovery_proportion{end}"] = mean(proportions[PEER])
    if lags:
        figures[f"lag_found{end}"] = share([abs(lag - LAG_SECONDS) <= 120 for lag in lags])
    return rows, figures


def main() -> None:
    """Run all settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, help="taken for the sake of the others; nothing is kept")
    parser.add_argument("--repeats", type=int, default=200, help="lines, a setting")
    parser.add_argument("--only", choices=SETTINGS, help="one of the settings")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows: list[Row] = []
    figures: dict[str, Measure] = {}
    for number, name in enumerate(SETTINGS):
        if args.only in (None, name):
            told, found = case(name, args.repeats, args.seed * 10 + number)
            rows += told
            figures.update(found)
    tell("causes", rows, figures, as_json=args.json)


def _row(case: str, unit: str, measure: Measure) -> Row:
    return Row(case=case, unit=unit, median=measure.value, low=measure.low, high=measure.high, n=measure.n)


if __name__ == "__main__":
    main()
