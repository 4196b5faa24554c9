"""What the benchmarks of the fine-tune tier share: a trunk fine-tuned as the product does, and what is found with it.

A trunk is kept in the cache by what it was trained on: a benchmark that was killed goes on, and one that is run again
costs no training.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from sklearn.metrics import average_precision_score
from torch import nn

from benchmarks.embedded_set import Floats, Rows, embed_once
from benchmarks.learning import Cells, defect_probability
from benchmarks.result import Row
from training.backbones import load_backbone
from training.calibration_error import calibration_error
from training.finetune.held import HELD_SHARE, seen_by
from training.finetune.plan import FineTunePlan, fastest_precision
from training.finetune.tuned import TunedTrunk, TuneRequest, tune_trunk
from training.finetune.weights import load_weights
from training.fit import FitRequest, learn_with_bank
from training.input_choice import DEFAULT_CHOICE, MOST_VIEWS, ONE_VIEW, InputChoice
from training.torch_export import export_trunk
from training.trunk import Embedded, Trunk, float_trunk

MEASURES = {"accuracy": "accuracy", "average precision": "precision", "ECE": "error", "claimed": "claimed"}


@dataclass(frozen=True, slots=True)
class Scores:
    """What was measured on cells held out, and what the fit itself expected."""

    accuracy: float
    precision: float
    error: float
    claimed: float


def measured(cells: Cells, request: FitRequest, held: Rows) -> Scores:
    """Fit, and measure on rows that nothing has seen."""
    learnt, bank, _ = learn_with_bank(request)
    p = defect_probability(cells, learnt, bank, held)
    return scores_of(p, cells.labels[held] == 1, claimed=learnt.metrics["oof_average_precision_all"])


def scores_of(p: Floats, truth: np.ndarray, claimed: float) -> Scores:
    """Compare the probability of a defect with the truth."""
    return Scores(
        accuracy=float(((p > 0.5) == truth).mean()),
        precision=float(average_precision_score(truth, p)),
        error=calibration_error(p, truth, resamples=0).value,
        claimed=claimed,
    )


def tuned_on(cells: Cells, request: FitRequest, rows: Rows, plan: FineTunePlan, args: argparse.Namespace) -> TunedTrunk:
    """Fine-tune the trunk on some rows; a benchmark that was killed goes on from there."""
    return tune_trunk(
        TuneRequest(
            trunk=cells.trunk,
            weights=None,
            seen=frozenset(),
            examples=request.examples,
            classes=cells.classes,
            frame_of=lambda i: cells.frames[rows[i]],
            plan=plan,
            held_share=args.held_share,
        ),
        folder=args.cache / "finetune",
        threads=args.threads,
    )


def with_two_views(tuned: TunedTrunk) -> Trunk:
    """Return the fine-tuned trunk as it would be with a second view: the same weights, exported once more."""
    backbone = load_backbone(tuned.trunk.backbone, tuned.trunk.input_size)
    load_weights(cast("nn.Module", backbone), tuned.weights, name="fine-tuned weights")
    choice = replace(tuned.trunk.choice, views=MOST_VIEWS)
    return Trunk.load(export_trunk(backbone, choice, weights=tuned.trunk.weights))


def with_trunk(cells: Cells, trunk: Trunk, found: Embedded | None = None) -> Cells:
    """Return the same cells as another trunk sees them; embedded anew unless it is known what it finds."""
    other, found = copy.copy(cells), found or trunk.run(cells.frames)
    other.trunk, other.features, other.patches = trunk, found.features, found.patches
    return other


def honest(request: FitRequest, tuned: TunedTrunk) -> FitRequest:
    """Say which examples the trunk was trained on."""
    return replace(request, examples=replace(request.examples, seen=seen_by(request.examples.groups, tuned.seen)))


def plan_of(args: argparse.Namespace, seed: int) -> FineTunePlan:
    """The product's plan, but for what the command says; a cell may be turned by quarters."""
    return FineTunePlan(
        stages=args.stages,
        epochs=args.epochs,
        rate=args.rate,
        quarter_turns=True,
        precision=fastest_precision(),
        seed=seed,
    )


def load_cells(args: argparse.Namespace) -> tuple[Cells, Cells]:
    """The cells as the trunk to begin with sees them, in one view and in two."""
    cells = Cells(args.cache, "fp32", None, replace(args.input, views=ONE_VIEW))
    both_ways = float_trunk(args.cache, replace(args.input, views=MOST_VIEWS))
    return cells, with_trunk(cells, both_ways, embed_once(cells.name, cells.frames, both_ways, args.cache))


def rows_of(runs: Mapping[str, Sequence[Scores]]) -> list[Row]:
    """Each measure of each case; not every way of fitting claims something."""
    return [
        Row.of(f"{word}: {name}", "", [getattr(s, attribute) for s in scores])
        for name, scores in runs.items()
        for word, attribute in MEASURES.items()
        if not np.isnan([getattr(s, attribute) for s in scores]).any()
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What both benchmarks of the tier can be told."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--splits", type=int, default=5, help="repeats, each with another seed (default 5)")
    parser.add_argument("--first", type=int, default=0, help="number of the first split, to go on with more of them")
    parser.add_argument("--epochs", type=int, default=FineTunePlan().epochs, help="of fine-tuning")
    parser.add_argument("--rate", type=float, default=FineTunePlan().rate, help="learning rate at its peak")
    parser.add_argument(
        "--held-share", type=float, default=HELD_SHARE, help="share of groups that the trunk never sees; 0 flatters"
    )
    parser.add_argument(
        "--input",
        type=InputChoice.parse,
        default=DEFAULT_CHOICE,
        metavar="BACKBONE@SIDE",
        help="the trunk to begin with; its views are of no account, since one and two are both measured",
    )
    parser.add_argument(
        "--stages", type=int, default=FineTunePlan().stages, help="last stages of the backbone that learn"
    )
    parser.add_argument("--threads", type=int, help="of fine-tuning (default: the cores there are)")


def say(text: str) -> None:
    """Tell the one who waits."""
    print(text, file=sys.stderr, flush=True)
