"""What choosing labels brings on magnetic tiles: a class that nobody has seen, and light that changes.

Of each class a third of the parts measures; frames of one part (near-duplicates) are never on both sides.

    fresh     each class of defect in turn comes only from the third round of a stream
    exposure  the lamp ages: the factory has bright frames (exposures 4 to 6), darker and darker ones of others stream
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded_set import EmbeddedSet, Rows
from benchmarks.frame_sets import labelled_images
from benchmarks.label_compare import (
    BUDGET,
    QUEUE,
    RANDOM,
    ROUNDS,
    Told,
    compare,
    differences,
    follow,
    say_split,
    tell_followed,
)
from benchmarks.label_stories import NONE, Learner, Parts, tell_random
from benchmarks.plan_sets import near_duplicates
from benchmarks.result import mean_of, ratio_of_means
from benchmarks.strategies import Strategy
from data.label_scores import Mix
from training.plans import DEFAULT
from training.quantize import CALIBRATION_FRAMES

PEERS = ("margin", "entropy", "coreset", "badge", "typiclust")
BUDGETS = (0.05, 0.1, 0.2)
RANDOM_BUDGETS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
EXPOSURE = "exposure"
BRIGHT = ("exp4", "exp5", "exp6")


def tiles_of(place: Path, cache: Path) -> EmbeddedSet:
    """Embed the tiles as a device does."""
    frames = labelled_images(place)
    calibration = np.random.default_rng(0).choice(len(frames.labels), CALIBRATION_FRAMES, replace=False)
    return EmbeddedSet(
        "tiles",
        frames.frames,
        frames.labels,
        frames.classes,
        groups=near_duplicates(frames),
        calibration=calibration,
        cache=cache,
        variant="int8",
        plans=[DEFAULT],
    )


def piles(tiles: EmbeddedSet, shares: Sequence[float], random: np.random.Generator) -> Rows:
    """Deal the groups of each class onto piles; shares sum to 1. Returns each row's pile, int64 [n]."""
    pile_of = np.zeros(len(tiles.labels), dtype=np.int64)
    for k in range(len(tiles.classes)):
        names = random.permutation(np.unique(tiles.groups[tiles.labels == k]))
        cuts = np.round(np.cumsum(shares)[:-1] * len(names)).astype(np.int64)
        for pile, part in enumerate(np.split(names, cuts)):
            pile_of[np.isin(tiles.groups, part)] = pile
    return pile_of


def fresh_parts(tiles: EmbeddedSet, new: int, split: int) -> Parts:
    """A third measures, half of the rest is the factory's but for the new class, which comes from the third round."""
    random = np.random.default_rng([split, new])
    pile = piles(tiles, (1 / 3, 1 / 3, 1 / 3), random)
    old = tiles.labels != new
    factory = np.flatnonzero((pile == 1) & old)
    rounds = np.array_split(random.permutation(np.flatnonzero((pile == 2) & old)), ROUNDS + 1)
    late = np.array_split(random.permutation(np.flatnonzero((pile > 0) & ~old)), ROUNDS - 1)
    mixed = [random.permutation(np.concatenate(pair)) for pair in zip(rounds[2:], late, strict=True)]
    return Parts(factory, (*rounds[:2], *mixed), np.flatnonzero(pile == 0))


def fresh(
    tiles: EmbeddedSet, splits: range, chosen: Mapping[str, Strategy], mix: Mix, told: Told, kind: type[Learner]
) -> None:
    """Each class of defect in turn is one that nobody has seen before the third round."""
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
        say_split("fresh", split, splits)
    for name, mine in sorted(found.items()):
        told.say(f"fresh class: {name}", "AP of the fresh class", mine["AP"])
        told.say(f"fresh class: {name}", "mean AP of the old defects", mine["old"])
        told.say(f"fresh class: {name}", "labels of the fresh class", mine["labels"])
    differences({name: mine["AP"] for name, mine in found.items() if name != "everything"}, "_fresh", told)
    told.figure("fresh_labels_found_over_random", ratio_of_means(found[QUEUE]["labels"], found[RANDOM]["labels"]))


def exposure_parts(tiles: EmbeddedSet, exposures: NDArray[np.str_], split: int) -> Parts:
    """A third measures, in the dark; bright frames of a third are the factory's, dark ones of the last third stream."""
    random = np.random.default_rng([split, 5])
    pile, bright = piles(tiles, (1 / 3, 1 / 3, 1 / 3), random), np.isin(exposures, BRIGHT)
    streams = random.permutation(np.flatnonzero((pile == 2) & ~bright))
    streams = streams[np.argsort(exposures[streams], kind="stable")[::-1]]
    return Parts(
        np.flatnonzero((pile == 1) & bright),
        tuple(np.array_split(streams, ROUNDS)),
        np.flatnonzero((pile == 0) & ~bright),
    )


def exposure(
    tiles: EmbeddedSet,
    exposures: NDArray[np.str_],
    splits: range,
    chosen: Mapping[str, Strategy],
    mix: Mix,
    told: Told,
    kind: type[Learner],
) -> None:
    """The light changes: what that costs an engine without a new label, and what labels bring back."""
    untaught: dict[str, list[float]] = {"bright": [], "dark": []}

    def learner_of(split: int) -> Learner:
        parts = exposure_parts(tiles, exposures, split)
        same = np.isin(tiles.groups, tiles.groups[parts.holdout]) & np.isin(exposures, BRIGHT)
        in_light = kind(tiles, replace(parts, holdout=np.flatnonzero(same)), split)
        learner = kind(tiles, parts, split)
        for light, asked in (("bright", in_light), ("dark", learner)):
            by_class = asked.measure(NONE, np.empty(0), parts.stream)
            untaught[light].append(float(np.nanmean(by_class[1:])))
        return learner

    found = follow("exposure", learner_of, splits, chosen, mix, budgets=BUDGETS, random_budgets=RANDOM_BUDGETS)
    told.say("exposure: no new label, bright frames", "AP", untaught["bright"])
    told.say("exposure: no new label, dark frames", "AP", untaught["dark"])
    told.figure("lost_to_exposure_ap", mean_of(np.subtract(untaught["bright"], untaught["dark"])))
    told.figure("regained_by_labels_ap", mean_of(np.subtract(found.ap[QUEUE, BUDGET], untaught["dark"])))
    tell_followed(found, told, of="exposure: ", suffix="_exposure")
