"""How ways of choosing labels are compared in `benchmarks.labels`: on the same split and stream, paired."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.isotonic import IsotonicRegression

from benchmarks.embedded_set import Floats
from benchmarks.label_stories import Learner, Story, queue_scores, tell_peer, tell_queue, tell_random
from benchmarks.result import Row, mean_of, ratio_of_means
from benchmarks.strategies import Strategy
from data.label_scores import Mix
from data.policy import DrawPolicy
from training.evaluate import Measure

BUDGET = 0.1  # share labelled at which all are compared
ROUNDS = 5
RANDOM_DRAWS = 4
#: Peers that are followed over all budgets; the others are compared at one.
FOLLOWED = ("margin", "badge", "typiclust")
WITHOUT_ENGINE = ("coreset", "typiclust", "probcover")
QUEUE, DRAWN, RANDOM = "andon", "andon, all drawn", "random"
CHOSEN = DrawPolicy().chosen_share


@dataclass(slots=True)
class Told:
    """What is printed in the end."""

    rows: list[Row] = field(default_factory=list)
    figures: dict[str, Measure] = field(default_factory=dict)

    def say(self, case: str, unit: str, values: Sequence[float]) -> None:
        """Add a row, and show it at once."""
        self.rows.append(Row.of(case, unit, values))
        row = self.rows[-1]
        print(
            f"  {case}: {np.mean(values):.4g} {unit} (median {row.median:.4g}), n = {row.n}",
            file=sys.stderr,
            flush=True,
        )

    def figure(self, name: str, measure: Measure) -> None:
        """Add a figure, and show it at once."""
        self.figures[name] = measure
        print(f"  {name} = {measure}", file=sys.stderr, flush=True)


def say_split(part: str, split: int, splits: range) -> None:
    """Show how far it is."""
    print(f"{part}: split {split} of {splits.start} to {splits.stop - 1}", file=sys.stderr, flush=True)


def labels_needed(curve: Floats, budgets: Sequence[float], wanted: float) -> float:
    """Share of labels at which a mean curve reaches a score: monotone, linear in the logarithm of the share.

    Args:
        curve: float64 [splits, budgets].
        budgets: Rising; the last is the most that can be said.
        wanted: The score.
    """
    x = np.log(np.asarray(budgets))
    y = IsotonicRegression().fit_transform(x, curve.mean(axis=0))
    if wanted <= y[0]:
        return float(budgets[0])
    above = np.flatnonzero(y >= wanted)
    if not len(above):
        return float(budgets[-1])
    k = int(above[0])
    share = (wanted - y[k - 1]) / max(y[k] - y[k - 1], 1e-12)
    return float(np.exp(x[k - 1] + share * (x[k] - x[k - 1])))


def label_saving(ours: Floats, curve: Floats, budgets: Sequence[float], budget: float, *, seed: int = 0) -> Measure:
    """How many times our labels random needs for our score; splits are resampled together."""
    random = np.random.default_rng(seed)
    told = []
    for _ in range(2000):
        rows = random.integers(0, len(ours), len(ours))
        told.append(labels_needed(curve[rows], budgets, float(ours[rows].mean())) / budget)
    low, high = (float(q) for q in np.quantile(told, [0.025, 0.975]))
    return Measure(value=labels_needed(curve, budgets, float(ours.mean())) / budget, low=low, high=high, n=len(ours))


def compare(
    learner: Learner, budget: float, seed: int, chosen: Mapping[str, Strategy], mix: Mix, *, drawn: bool = True
) -> dict[str, Story]:
    """One split at one budget: the queue, its draw alone, random labels, and peers on the queue's captured stream."""
    ours = tell_queue(learner, budget, queue_scores(mix), seed, chosen_share=CHOSEN)
    told = {QUEUE: ours}
    if drawn:
        told[DRAWN] = tell_queue(learner, budget, queue_scores(mix), seed, chosen_share=0.0)
    kept = np.concatenate([c.rows for c in ours.captured])
    told[RANDOM] = tell_random(learner, budget, seed, captured=kept)
    for name, how in chosen.items():
        needs = name not in WITHOUT_ENGINE
        told[name] = tell_peer(learner, budget, how, ours.captured, seed, needs_engine=needs)
    return told


def random_ap(learner: Learner, budget: float, seed: int, first: Story | None = None) -> float:
    """Average precision with random labels, mean of some draws; of all labels there is only one."""
    draws = [first or tell_random(learner, budget, seed)]
    draws += [tell_random(learner, budget, seed + 1000 * k) for k in range(1, RANDOM_DRAWS) if budget < 1]
    return float(np.mean([story.average_precision for story in draws]))


@dataclass(slots=True)
class Followed:
    """What came of the strategies on one stream, split by split.

    Attributes:
        ap: Average precision on the holdout, by strategy and share labelled.
        defects: Defects among the labels at `BUDGET`, by strategy.
        off: Estimated less true defect rate at `BUDGET`, by strategy whose labels have a probability.
    """

    ap: dict[tuple[str, float], list[float]] = field(default_factory=dict)
    defects: dict[str, list[float]] = field(default_factory=dict)
    off: dict[str, list[float]] = field(default_factory=dict)


def follow(
    part: str,
    learner_of: Callable[[int], Learner],
    splits: range,
    chosen: Mapping[str, Strategy],
    mix: Mix,
    *,
    budgets: Sequence[float],
    random_budgets: Sequence[float],
) -> Followed:
    """Tell every story of a stream.

    Args:
        part: Its name, to show how far it is.
        learner_of: Makes a split's learner.
        splits: Their numbers.
        chosen: Peers at `BUDGET`; of them `FOLLOWED` at the other budgets.
        mix: Of the queue's signals.
        budgets: Shares labelled; `BUDGET` among them.
        random_budgets: Shares labelled at random, rising to 1.
    """
    found = Followed()
    for split in splits:
        learner = learner_of(split)
        for budget in budgets:
            some = chosen if budget == BUDGET else {name: chosen[name] for name in FOLLOWED if name in chosen}
            for name, story in compare(learner, budget, split, some, mix, drawn=budget == BUDGET).items():
                ap = random_ap(learner, budget, split, story) if name == RANDOM else story.average_precision
                found.ap.setdefault((name, budget), []).append(ap)
                if budget != BUDGET:
                    continue
                found.defects.setdefault(name, []).append(float((learner.images.labels[story.labelled] > 0).sum()))
                if np.isfinite(story.rate_error):
                    found.off.setdefault(name, []).append(story.rate_error)
        for budget in sorted(set(random_budgets) - set(budgets)):
            found.ap.setdefault((RANDOM, budget), []).append(random_ap(learner, budget, split))
        say_split(part, split, splits)
    return found


def tell_followed(found: Followed, told: Told, *, of: str = "", suffix: str = "") -> None:
    """Say what came of the strategies: `of` begins each row, `suffix` ends each figure's name."""
    for (name, budget), values in sorted(found.ap.items(), key=lambda item: (item[0][1], item[0][0])):
        told.say(f"{of}{name}, {budget:.0%} labelled" if budget < 1 else f"{of}everything labelled", "AP", values)
    for name, numbers in found.defects.items():
        told.say(f"{of}{name}, {BUDGET:.0%} labelled", "defects labelled", numbers)
    ours, everything = found.ap[QUEUE, BUDGET], found.ap[RANDOM, 1.0]
    told.figure(f"share_of_all_labels_ap{suffix}", ratio_of_means(ours, everything))
    told.figure(f"random_share_of_all_labels_ap{suffix}", ratio_of_means(found.ap[RANDOM, BUDGET], everything))
    budgets = sorted(budget for name, budget in found.ap if name == RANDOM)
    curve = np.array([found.ap[RANDOM, budget] for budget in budgets]).T
    told.figure(f"label_saving_over_random{suffix}", label_saving(np.array(ours), curve, budgets, BUDGET))
    told.figure(f"defects_found_over_random{suffix}", ratio_of_means(found.defects[QUEUE], found.defects[RANDOM]))
    differences({name: values for (name, budget), values in found.ap.items() if budget == BUDGET}, suffix, told)
    _rate_errors(found.off, of, suffix, told)


def differences(found: Mapping[str, Sequence[float]], suffix: str, told: Told) -> None:
    """Paired differences from random labels, and of the queue from its draw alone."""
    for name in sorted(set(found) - {RANDOM}):
        told.figure(f"{_plain(name)}_minus_random_ap{suffix}", mean_of(np.subtract(found[name], found[RANDOM])))
    told.figure(f"andon_minus_andon_all_drawn_ap{suffix}", mean_of(np.subtract(found[QUEUE], found[DRAWN])))


def _rate_errors(off: Mapping[str, Sequence[float]], of: str, suffix: str, told: Told) -> None:
    """By how far the stream's defect rate is off when it is estimated from the labels that have a probability."""
    for name, errors in off.items():
        told.say(f"{of}{name}, {BUDGET:.0%} labelled: defect rate less the true one", "share", errors)
        told.figure(f"{_plain(name)}_rate_error{suffix}", mean_of(errors))
        told.figure(f"{_plain(name)}_squared_rate_error{suffix}", mean_of(np.square(errors)))


def _plain(name: str) -> str:
    return name.replace(", ", "_").replace(" ", "_")
