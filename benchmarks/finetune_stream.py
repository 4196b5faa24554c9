"""What training the trunk brings after a product change, by how much of the stream is labelled, on solar cells (ELPV).

Three quarters of the monocrystalline cells are the factory set, two thirds of the polycrystalline ones stream past, the
last third is the holdout. Labels are those of `benchmarks.labels` on the same split: the queue's own (`andon`), and
random ones of the whole stream. From the same labels the everyday fit is made on the trunk as it was (head tier) and on
one fine-tuned on three quarters of what may be learnt from (fine-tune tier), each with one view and with two: every
difference is paired.

    python -m benchmarks.finetune_stream [--budgets 0.02 0.05 0.1 0.2 1] [--labels andon random] [--splits 5] [--json]

A fine-tuning costs two to four minutes of two cores, and as much again where everything is labelled.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.embedded_set import Floats, Rows
from benchmarks.label_cells import cells_parts
from benchmarks.label_compare import CHOSEN, QUEUE, RANDOM
from benchmarks.label_stories import CAPTURED, Parts, queue_scores, tell_queue, tell_random
from benchmarks.learning import Cells
from benchmarks.quick_learner import QuickLearner
from benchmarks.result import mean_of, ratio_of_means, tell
from benchmarks.tuning import (
    Scores,
    add_arguments,
    honest,
    load_cells,
    measured,
    plan_of,
    rows_of,
    say,
    tuned_on,
    with_trunk,
    with_two_views,
)
from data.label_scores import Mix
from training.evaluate import Measure
from training.fit import FitRequest
from training.plans import DEFAULT

EVERYTHING = "all"


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """Whose labels, what share of the stream, and what learnt from them."""

    share: float
    labels: str
    tier: str

    def __str__(self) -> str:
        tier = self.tier.replace("_", " ").replace("finetune", "fine-tune")
        whose = "everything" if self.labels == EVERYTHING else f"{self.labels}, {self.share:.0%}"
        return f"{whose} labelled, {tier}"


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """What is labelled of a stream: rows, their inclusion probabilities, and what was kept beside them."""

    rows: Rows
    p: Floats
    captured: Rows


def labels_of(learner: QuickLearner, whose: str, share: float, seed: int) -> Labelled:
    """Label a share of the stream as `benchmarks.labels` does."""
    if whose == QUEUE:
        story = tell_queue(learner, share, queue_scores(Mix()), seed, chosen_share=CHOSEN)
        return Labelled(story.labelled, story.p, np.concatenate([c.rows for c in story.captured]))
    story = tell_random(learner, share, seed)
    stream = learner.parts.stream
    return Labelled(story.labelled, story.p, np.union1d(stream[: round(CAPTURED * len(stream))], story.labelled))


def tiers_of(
    cells: Cells, turned: Cells, parts: Parts, some: Labelled, split: int, args: argparse.Namespace
) -> dict[str, Scores]:
    """What each tier makes of the same labels."""

    def asked(data: Cells) -> FitRequest:
        return data.request(parts.factory, some.rows, some.p, some.captured, split)

    tuned = tuned_on(cells, asked(cells), np.concatenate([parts.factory, some.rows]), plan_of(args, split), args)
    found = {
        "head": measured(cells, asked(cells), parts.holdout),
        "head_two_views": measured(turned, asked(turned), parts.holdout),
    }
    for tier, trunk in (("finetune", tuned.trunk), ("finetune_two_views", with_two_views(tuned))):
        other = with_trunk(cells, trunk)
        found[tier] = measured(other, honest(asked(other), tuned), parts.holdout)
    return found


def figures_of(runs: Mapping[Case, Sequence[Scores]]) -> dict[str, Measure]:
    """Average precision of each case, what the fine-tune tier adds, and shares of what all labels bring."""
    ap = {case: [s.precision for s in scores] for case, scores in runs.items()}
    figures = {}
    for case, mine in sorted(ap.items()):
        whose = "of_all_labels" if case.labels == EVERYTHING else f"{case.labels}_at_{case.share * 100:.0f}_percent"
        figures[f"{case.tier}_ap_{whose}"] = mean_of(mine)
        if case.tier.startswith("finetune"):
            gain = np.subtract(mine, ap[replace(case, tier=case.tier.replace("finetune", "head"))])
            figures[f"{case.tier}_gain_ap_{whose}"] = mean_of(gain)
        random = ap.get(replace(case, labels=RANDOM))
        if case.labels == QUEUE and random:
            figures[f"{case.tier}_minus_random_ap_{whose}"] = mean_of(np.subtract(mine, random))
        everything = ap.get(Case(1.0, EVERYTHING, case.tier))
        if case.labels != EVERYTHING and everything:
            figures[f"{case.tier}_share_of_all_labels_ap_{whose}"] = ratio_of_means(mine, everything)
    return figures


def main() -> None:
    """Measure each split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument(
        "--budgets", type=float, nargs="+", default=[0.02, 0.05, 0.1, 0.2, 1.0], help="shares of the stream labelled"
    )
    parser.add_argument(
        "--labels", nargs="+", choices=[QUEUE, RANDOM], default=[QUEUE, RANDOM], help="who says what is labelled"
    )
    args = parser.parse_args()
    for share in args.budgets:
        if not 0 < share <= CAPTURED and share != 1:
            parser.error(
                f"--budgets {share}: expected 1, or a share in (0, {CAPTURED}]: labels are drawn from captures"
            )
    cells, turned = load_cells(args)
    engines = Cells(args.cache, "int8", [DEFAULT])  # what the devices of `benchmarks.labels` ran
    runs: dict[Case, list[Scores]] = {}
    for split in range(args.first, args.first + args.splits):
        parts = cells_parts(engines, split)
        with threadpool_limits(1):
            learner = QuickLearner(engines, parts, split)
        for share in args.budgets:
            for whose in args.labels if share < 1 else [EVERYTHING]:
                with threadpool_limits(1):
                    some = labels_of(learner, whose, share, split)
                for tier, scores in tiers_of(cells, turned, parts, some, split, args).items():
                    case = Case(share, whose, tier)
                    runs.setdefault(case, []).append(scores)
                    say(f"split {split}: {case}: {scores}")
    by_name = {str(case): scores for case, scores in sorted(runs.items())}
    tell("finetune_stream", rows_of(by_name), figures_of(runs), as_json=args.json)


if __name__ == "__main__":
    main()
