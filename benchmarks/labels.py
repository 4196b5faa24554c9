"""``python -m benchmarks.labels``: what choosing labels brings, beside random labels and other ways of choosing them.

The factory set is three quarters of ELPV's monocrystalline cells. Two thirds of the polycrystalline cells stream past
in five rounds, one third measures. `benchmarks.label_stories` says how frames are captured, who sees what, and how
labels are chosen; every strategy has the same learner, features, split and captured stream: differences are paired.

    stream      average precision against the share labelled: 2, 5, 10, 20 %, all
    longtail    the same stream with 5 % and with 1 % defects, 10 % labelled
    noise       5 and 20 % of all labels are wrong: what is suggested for review, beside cleanlab, and what that brings
    fresh       (--tiles) a class of defect that comes in the middle of the stream, each class in turn, 10 % labelled

Peers: margin (with two classes entropy is the same), coreset, and BADGE, TypiClust, ProbCover, Falcun and CLUE of
scikit-activeml in an environment of its own; cleanlab for label errors. Random labels are the mean of four draws. The
learner is `benchmarks.quick_learner`, for `noise`, which looks at out-of-fold answers, the everyday fit. Half an hour
on one core; `--parts` and `--splits` take less.

    python -m benchmarks.labels --cache .andon/cache/benchmarks --tiles magnetic-tile.tar --json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.isotonic import IsotonicRegression
from threadpoolctl import threadpool_limits

from benchmarks.embedded_set import EmbeddedSet, Floats
from benchmarks.frame_sets import labelled_images
from benchmarks.label_stories import (
    Learner,
    Parts,
    Story,
    queue_scores,
    tell_peer,
    tell_queue,
    tell_random,
)
from benchmarks.learning import Cells
from benchmarks.peers.active_learning import STRATEGIES as OF_ACTIVEML
from benchmarks.peers.active_learning import ActiveLearning
from benchmarks.quick_learner import QuickLearner
from benchmarks.result import Row, mean_of, ratio_of_means, tell
from benchmarks.strategies import OWN, Strategy
from data.label_scores import Mix
from data.policy import DrawPolicy
from training.evaluate import Measure
from training.label_errors import suspect_labels
from training.plans import DEFAULT
from training.quantize import CALIBRATION_FRAMES

BUDGETS = (0.02, 0.05, 0.1, 0.2)
RANDOM_BUDGETS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
BUDGET = 0.1
SHARES = (0.05, 0.01)
NOISE = (0.05, 0.2)
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


def cells_parts(cells: Cells, split: int, share: float | None = None) -> Parts:
    """Split the cells; a thinned stream keeps all its ok cells."""
    random = np.random.default_rng(split)
    mono, poly = (random.permutation(np.flatnonzero(which)) for which in (~cells.poly, cells.poly))
    holdout, stream = poly[: len(poly) // 3], poly[len(poly) // 3 :]
    if share is not None:
        bad = cells.defect[stream] == 1
        n = max(1, round(share / (1 - share) * int((~bad).sum())))
        stream = random.permutation(np.concatenate([stream[~bad], stream[bad][:n]]))
    return Parts(mono[: round(0.75 * len(mono))], tuple(np.array_split(stream, ROUNDS)), holdout)


def _say_split(part: str, split: int, splits: range) -> None:
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


def strategies(peers: ActiveLearning | None, wanted: Sequence[str]) -> dict[str, Strategy]:
    """The peers that are wanted; scikit-activeml's own where it has one."""
    found: dict[str, Strategy] = {name: how for name, how in OWN.items() if name in wanted}
    if peers is not None:
        found |= {name: partial(peers.choose, name) for name in OF_ACTIVEML if name in wanted}
    return found


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


def stream(
    cells: Cells, splits: range, chosen: Mapping[str, Strategy], mix: Mix, told: Told, kind: type[Learner]
) -> None:
    """Average precision against the share labelled."""
    found: dict[tuple[str, float], list[float]] = {}
    off: dict[str, list[float]] = {}
    for split in splits:
        learner = kind(cells, cells_parts(cells, split), split)
        for budget in BUDGETS:
            some = chosen if budget == BUDGET else {name: chosen[name] for name in FOLLOWED if name in chosen}
            for name, story in compare(learner, budget, split, some, mix, drawn=budget == BUDGET).items():
                ap = random_ap(learner, budget, split, story) if name == RANDOM else story.average_precision
                found.setdefault((name, budget), []).append(ap)
                if budget == BUDGET and np.isfinite(story.rate_error):
                    off.setdefault(name, []).append(story.rate_error)
        for budget in set(RANDOM_BUDGETS) - set(BUDGETS):
            found.setdefault((RANDOM, budget), []).append(random_ap(learner, budget, split))
        _say_split("stream", split, splits)
    for (name, budget), values in sorted(found.items(), key=lambda item: (item[0][1], item[0][0])):
        told.say(f"{name}, {budget:.0%} labelled" if budget < 1 else "everything labelled", "AP", values)
    ours, everything = (np.array(found[key]) for key in ((QUEUE, BUDGET), (RANDOM, 1.0)))
    told.figure("share_of_all_labels_ap", ratio_of_means(ours.tolist(), everything.tolist()))
    told.figure("random_share_of_all_labels_ap", ratio_of_means(found[RANDOM, BUDGET], everything.tolist()))
    curve = np.array([found[RANDOM, budget] for budget in RANDOM_BUDGETS]).T
    told.figure("label_saving_over_random", label_saving(ours, curve, RANDOM_BUDGETS, BUDGET))
    differences(found, BUDGET, "", told)
    rate_errors(off, "", told)


def rate_errors(off: Mapping[str, Sequence[float]], suffix: str, told: Told) -> None:
    """By how far the stream's defect rate is off when it is estimated from the labels that have a probability."""
    for name, errors in off.items():
        plain = name.replace(", ", "_").replace(" ", "_")
        told.say(f"{name}, {BUDGET:.0%} labelled{suffix}: defect rate less the true one", "share", errors)
        told.figure(f"{plain}_rate_error{suffix}", mean_of(errors))
        told.figure(f"{plain}_squared_rate_error{suffix}", mean_of(np.square(errors).tolist()))


def differences(found: Mapping[tuple[str, float], Sequence[float]], budget: float, suffix: str, told: Told) -> None:
    """Paired differences from random labels at one budget."""
    base = np.array(found[RANDOM, budget])
    for name, at in sorted(found):
        if at == budget and name != RANDOM:
            plain = name.replace(", ", "_").replace(" ", "_")
            told.figure(f"{plain}_minus_random_ap{suffix}", mean_of(np.array(found[name, at]) - base))
    gain = np.array(found[QUEUE, budget]) - np.array(found[DRAWN, budget])
    told.figure(f"andon_minus_andon_all_drawn_ap{suffix}", mean_of(gain))


def longtail(
    cells: Cells, splits: range, chosen: Mapping[str, Strategy], mix: Mix, told: Told, kind: type[Learner]
) -> None:
    """The stream with few defects."""
    some = {name: chosen[name] for name in FOLLOWED if name in chosen}
    for share in SHARES:
        found: dict[tuple[str, float], list[float]] = {}
        defects: dict[str, list[float]] = {}
        off: dict[str, list[float]] = {}
        budgets = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
        for split in splits:
            learner = kind(cells, cells_parts(cells, split, share), split)
            for name, story in compare(learner, BUDGET, split, some, mix).items():
                ap = random_ap(learner, BUDGET, split, story) if name == RANDOM else story.average_precision
                found.setdefault((name, BUDGET), []).append(ap)
                defects.setdefault(name, []).append(float(cells.defect[story.labelled].sum()))
                if np.isfinite(story.rate_error):
                    off.setdefault(name, []).append(story.rate_error)
            for budget in budgets:
                if budget != BUDGET:
                    found.setdefault((RANDOM, budget), []).append(random_ap(learner, budget, split))
            _say_split(f"longtail {share:.0%}", split, splits)
        for (name, budget), values in sorted(found.items(), key=lambda item: (item[0][1], item[0][0])):
            case = f"{name}, {budget:.0%} labelled" if budget < 1 else "everything labelled"
            told.say(f"{share:.0%} defects: {case}", "AP", values)
        for name, numbers in defects.items():
            told.say(f"{share:.0%} defects: {name}, {BUDGET:.0%} labelled", "defects labelled", numbers)
        suffix = f"_at_{share * 100:.0f}_percent"
        ours = np.array(found[QUEUE, BUDGET])
        curve = np.array([found[RANDOM, budget] for budget in budgets]).T
        told.figure(f"label_saving_over_random{suffix}", label_saving(ours, curve, budgets, BUDGET))
        told.figure(f"share_of_all_labels_ap{suffix}", ratio_of_means(ours.tolist(), found[RANDOM, 1.0]))
        told.figure(f"defects_found_over_random{suffix}", ratio_of_means(defects[QUEUE], defects[RANDOM]))
        differences(found, BUDGET, suffix, told)
        rate_errors(off, suffix, told)


def noise(cells: Cells, splits: range, peers: ActiveLearning | None, mix: Mix, told: Told) -> None:
    """Wrong labels: precision and recall of what is suggested, and what looking at it brings."""
    for rate in NOISE:
        found: dict[str, list[float]] = {}

        def note(name: str, value: float, to: dict[str, list[float]] = found) -> None:
            to.setdefault(name, []).append(value)

        for split in splits:
            parts = cells_parts(cells, split)
            flipped = np.random.default_rng([split, 4]).random(len(cells.labels)) < rate
            said = np.where(flipped, 1 - cells.labels, cells.labels)
            learner = Learner(cells, parts, split, labels=said)
            story = tell_queue(learner, BUDGET, queue_scores(mix), split, chosen_share=CHOSEN)
            kept = np.concatenate([c.rows for c in story.captured])
            note("andon: AP with wrong labels", story.average_precision)
            note("random: AP with wrong labels", tell_random(learner, BUDGET, split, captured=kept).average_precision)
            learnt = learner.learn(story.labelled, story.p, kept)
            rows = np.concatenate([parts.factory, story.labelled])
            wrong = flipped[rows]
            named = {"andon": np.array([s.row for s in suspect_labels(said[rows], learnt.oof.astype(np.float64))])}
            if peers is not None:
                named["cleanlab"] = peers.label_errors(said[rows], learnt.oof.astype(np.float64))
            for name, suspects in named.items():
                suspects = suspects.astype(np.int64)
                note(f"{name}: suggested, of all labels", len(suspects) / len(rows))
                note(f"{name}: precision of what is suggested", float(wrong[suspects].mean()) if len(suspects) else 0.0)
                note(f"{name}: recall of the wrong labels", float(wrong[suspects].sum() / wrong.sum()))
            corrected = said.copy()
            again = rows[named["andon"].astype(np.int64)]
            corrected[again] = cells.labels[again]
            after = Learner(cells, parts, split, labels=corrected).measure(story.labelled, story.p, kept)
            note("andon: AP after the suggested ones were looked at", float(after[1]))
            _say_split(f"noise {rate:.0%}", split, splits)
        for name, values in found.items():
            told.say(f"{rate:.0%} wrong labels: {name}", "AP" if " AP" in name else "share", values)
        suffix = f"_at_{rate * 100:.0f}_percent_noise"
        told.figure(f"review_precision{suffix}", mean_of(found["andon: precision of what is suggested"]))
        told.figure(f"review_recall{suffix}", mean_of(found["andon: recall of the wrong labels"]))
        gain = np.array(found["andon: AP after the suggested ones were looked at"])
        told.figure(f"review_gain_ap{suffix}", mean_of(gain - np.array(found["andon: AP with wrong labels"])))


def fresh_parts(tiles: EmbeddedSet, new: int, split: int) -> Parts:
    """A third measures, half of the rest is the factory's but for the new class, which comes from the third round."""
    random = np.random.default_rng([split, new])
    order = random.permutation(len(tiles.labels))
    holdout, rest = order[: len(order) // 3], order[len(order) // 3 :]
    old, fresh = rest[tiles.labels[rest] != new], rest[tiles.labels[rest] == new]
    factory, stream_rows = old[: len(old) // 2], old[len(old) // 2 :]
    rounds = np.array_split(stream_rows, ROUNDS + 1)
    late = np.array_split(fresh, ROUNDS - 1)
    mixed = [random.permutation(np.concatenate(pair)) for pair in zip(rounds[2:], late, strict=True)]
    return Parts(factory, (*rounds[:2], *mixed), holdout)


def fresh(
    place: Path,
    cache: Path,
    splits: range,
    peers: ActiveLearning | None,
    mix: Mix,
    told: Told,
    kind: type[Learner],
) -> None:
    """Each class of defect in turn is one that nobody has seen before the third round."""
    frames = labelled_images(place)
    tiles = EmbeddedSet(
        "tiles",
        frames.frames,
        frames.labels,
        frames.classes,
        calibration=np.random.default_rng(0).choice(len(frames.labels), CALIBRATION_FRAMES, replace=False),
        cache=cache,
        variant="int8",
        plans=[DEFAULT],
    )
    chosen: dict[str, Strategy] = {name: OWN[name] for name in ("margin", "entropy", "coreset", "badge")}
    if peers is not None:
        chosen["typiclust"] = partial(peers.choose, "typiclust")
    found: dict[str, dict[str, list[float]]] = {}
    for split in splits:
        for new in range(1, len(tiles.classes)):
            learner = kind(tiles, fresh_parts(tiles, new, split), split)
            stories = compare(learner, BUDGET, split, chosen, mix)
            stories["everything"] = tell_random(learner, 1.0, split)
            for name, story in stories.items():
                mine = found.setdefault(name, {"AP": [], "old": [], "labels": []})
                mine["AP"].append(float(story.by_class[new]))
                others = [k for k in range(1, len(tiles.classes)) if k != new]
                mine["old"].append(float(np.mean(story.by_class[others])))
                mine["labels"].append(float((tiles.labels[story.labelled] == new).sum()))
        _say_split("fresh", split, splits)
    for name, mine in sorted(found.items()):
        told.say(f"fresh class: {name}", "AP of the fresh class", mine["AP"])
        told.say(f"fresh class: {name}", "mean AP of the old defects", mine["old"])
        told.say(f"fresh class: {name}", "labels of the fresh class", mine["labels"])
    base = np.array(found[RANDOM]["AP"])
    for name in sorted(set(found) - {RANDOM, "everything"}):
        plain = name.replace(", ", "_").replace(" ", "_")
        told.figure(f"{plain}_minus_random_ap_fresh", mean_of(np.array(found[name]["AP"]) - base))
    told.figure("fresh_labels_found_over_random", ratio_of_means(found[QUEUE]["labels"], found[RANDOM]["labels"]))


def main() -> int:
    """Tell the stories and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keeps embeddings and the peers' environment")
    parser.add_argument("--splits", type=int, default=10, help="independent splits, 5 or more to be quoted")
    parser.add_argument("--first", type=int, default=0, help="number of the first split, to look at others")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=["stream", "longtail", "noise", "fresh"],
        default=["stream", "longtail", "noise", "fresh"],
    )
    parser.add_argument("--tiles", type=Path, help="images with an index.csv, for `fresh`; without it that is left out")
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=sorted({*OWN, *OF_ACTIVEML}),
        default=["margin", "coreset", "badge", "typiclust", "probcover"],
        help="which to compare with on the cells (falcun and clue take as long as badge)",
    )
    parser.add_argument("--no-peers", action="store_true", help="leave scikit-activeml and cleanlab out")
    parser.add_argument("--everyday", action="store_true", help="the everyday fit for all parts: slow")
    parser.add_argument("--json", action="store_true", help="print JSON")
    for name, weight in Mix().weights.items():
        parser.add_argument(f"--{name}", type=float, default=weight, help=f"weight of the signal (default {weight})")
    args = parser.parse_args()
    if args.splits < 2:
        parser.error(f"--splits {args.splits}: expected at least 2, else nothing can be said about the spread")
    if args.first < 0:
        parser.error(f"--first {args.first}: expected 0 or more")
    kind = Learner if args.everyday else QuickLearner
    mix = Mix(**{name: getattr(args, name) for name in Mix().weights})
    splits = range(args.first, args.first + args.splits)
    began = time.perf_counter()
    told = Told()
    with ExitStack() as stack:
        cache = args.cache or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="andon-labels-")))
        peers = None if args.no_peers else stack.enter_context(ActiveLearning(cache.resolve()))
        stack.enter_context(threadpool_limits(1))
        cells = Cells(cache, "int8", [DEFAULT])
        chosen = strategies(peers, args.peers)
        if "stream" in args.parts:
            stream(cells, splits, chosen, mix, told, kind)
        if "longtail" in args.parts:
            longtail(cells, splits, chosen, mix, told, kind)
        if "noise" in args.parts:
            noise(cells, splits[: max(2, args.splits // 2)], peers, mix, told)
        if "fresh" in args.parts and args.tiles:
            fresh(args.tiles, cache, splits[: max(1, args.splits // 3)], peers, mix, told, kind)
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    tell("labels", told.rows, told.figures, as_json=args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
