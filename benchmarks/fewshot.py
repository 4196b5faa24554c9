"""A new class of defect with 1, 2, 5 or 10 labels: how well it is found, and what the old classes lose by it.

Each defect class in turn is the new one. Before: the everyday fit without the class. After: the same examples and the
few labels, the class added at the end as `add_class` does. Both answer for one held-out fold of groups; the new class's
average precision is over all of it, the old classes' over its frames of old classes, the same frames before and after.

    python -m benchmarks.fewshot --tiles PATH [--repeats 5] [--default-plan] [--json]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from benchmarks.embedded_set import EmbeddedSet, Rows
from benchmarks.plan_sets import embedded_set
from benchmarks.rebalancing import FOLDS
from benchmarks.result import Row, mean_of, tell
from edge_client.contract.engine_metadata import Kind
from training.fit import learn, score_examples
from training.folds import group_folds
from training.plans import DEFAULT, Plan

SHOTS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One new class with so many labels in one repeat.

    Attributes:
        new: Average precision of the new class.
        chance: Its share of the held-out frames: what guessing would have.
        lost: Mean over old defect classes of average precision before less after.
        most_lost: The largest of those.
    """

    new: float
    chance: float
    lost: float
    most_lost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One repeat: which groups are held out, and the anomaly score [n] of every frame.

    Scores are from one bank a repeat: it is made of ok frames alone, and those no story changes.
    """

    train: Rows
    test: Rows
    anomaly: NDArray[np.float32]


def split(data: EmbeddedSet, seed: int) -> Split:
    """Hold out a fold of groups, score its frames by the training side's bank and that side's across folds."""
    fold = group_folds(data.groups, data.labels, folds=FOLDS, seed=2_000 + seed)
    train, test = np.flatnonzero(fold != seed % FOLDS), np.flatnonzero(fold == seed % FOLDS)
    scored = score_examples(data.factory_request(train, seed=seed))
    anomaly = np.empty(len(fold), dtype=np.float32)
    anomaly[train], anomaly[test] = scored.scores, data.anomaly(scored.bank, test)
    return Split(train=train, test=test, anomaly=anomaly)


def answer(
    data: EmbeddedSet, rows: Rows, parts: Split, order: Sequence[int], seed: int, plans: Sequence[Plan] | None
) -> NDArray[np.float64]:
    """Fit on rows with the classes in an order; return probabilities of the test rows."""
    place = np.full(len(data.classes), -1)
    place[list(order)] = np.arange(len(order))
    request = data.factory_request(
        rows, seed=seed, plans=plans, classes=tuple(data.classes[c] for c in order), labels=place[data.labels[rows]]
    )
    learnt = learn(request, parts.anomaly[rows])
    found = learnt.head.probabilities(data.features[parts.test], parts.anomaly[parts.test])
    return np.asarray(found, dtype=np.float64)


def repeat(data: EmbeddedSet, parts: Split, new: int, seed: int, plans: Sequence[Plan] | None) -> dict[int, Story]:
    """Play one new class in one repeat."""
    train, test = parts.train, parts.test
    old = [c for c in range(len(data.classes)) if c != new]
    known = train[data.labels[train] != new]
    fresh = np.random.default_rng([seed, new]).permutation(train[data.labels[train] == new])
    truth = data.labels[test]
    kept = truth != new
    wanted = [c for c in old if data.classes[c].kind is Kind.DEFECT and (truth == c).any()]

    def precisions(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([average_precision_score(truth[kept] == c, probabilities[kept, old.index(c)]) for c in wanted])

    before = precisions(answer(data, known, parts, old, seed, plans))
    stories = {}
    for shots in SHOTS:
        rows = np.concatenate([known, fresh[:shots]])
        after = answer(data, rows, parts, [*old, new], seed, plans)
        loss = before - precisions(after)
        stories[shots] = Story(
            new=float(average_precision_score(truth == new, after[:, -1])),
            chance=float((truth == new).mean()),
            lost=float(loss.mean()),
            most_lost=float(loss.max()),
        )
    return stories


def main() -> None:
    """Play every class in every repeat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--tiles", type=Path, required=True, help="folder or tar of labelled images of several defects")
    parser.add_argument("--repeats", type=int, default=5, help="held-out folds and draws of the few labels")
    parser.add_argument("--default-plan", action="store_true", help="do not choose the plan: a sixth of the time")
    args = parser.parse_args()
    data = embedded_set(args.tiles, args.cache)
    defects = [c for c, info in enumerate(data.classes) if info.kind is Kind.DEFECT]
    plans = [DEFAULT] if args.default_plan else None
    stories: dict[tuple[int, int], list[Story]] = {}
    with threadpool_limits(1):
        for seed in range(args.repeats):
            parts = split(data, seed)
            for new in defects:
                for shots, story in repeat(data, parts, new, seed, plans).items():
                    stories.setdefault((new, shots), []).append(story)
            print(f"  repeat {seed} done", file=sys.stderr, flush=True)
    rows, figures = [], {}
    for shots in SHOTS:
        every = [story for new in defects for story in stories[new, shots]]
        rows += [
            Row.of(f"{shots} labels: AP of the new class", "", [s.new for s in every]),
            Row.of(f"{shots} labels: its share of the frames", "", [s.chance for s in every]),
            Row.of(f"{shots} labels: mean AP lost by old classes", "", [s.lost for s in every]),
            Row.of(f"{shots} labels: most AP lost by an old class", "", [s.most_lost for s in every]),
        ]
        for new in defects:
            mine = [s.new for s in stories[new, shots]]
            rows.append(Row.of(f"{shots} labels: AP of {data.classes[new].name} as new", "", mine))
        figures[f"new_class_ap_{shots}"] = mean_of([s.new for s in every])
        figures[f"old_class_loss_{shots}"] = mean_of([s.lost for s in every])
    worst = max(SHOTS, key=lambda shots: figures[f"old_class_loss_{shots}"].value)
    figures["old_class_loss"] = figures[f"old_class_loss_{worst}"]
    tell("fewshot", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
