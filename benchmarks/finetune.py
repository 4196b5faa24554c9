"""What training the trunk itself brings over a head on its embeddings, on solar cells (ELPV).

Supervised: a quarter of the cells is held out, stratified by type and label as Deitsch et al. (2019) did; a cell is
defective if its probability is over 0.5. Beside the published SVM (0.8244) and CNN (0.8842) stand a regularised
logistic regression on frozen features, the everyday fit on them (head tier), and the same fit on a fine-tuned trunk,
which was shown three quarters of what may be learnt from. ECE is the calibration error on the cells held out; `claimed`
the average precision that the fit itself expects. "Two views" is the same trunk, exported to look at each frame also
turned by half: a paired comparison, on the same fine-tuned weights. One case calibrates on what the trunk was trained
on, which Andon does not do. The quarter that no trunk is shown is the same cells in every split; how easy they happen
to be is told by what a logistic regression on frozen features finds on them, on the others, and on random quarters.
Mono to poly: three quarters of the monocrystalline cells are the factory set, a tenth (or all) of two thirds of the
polycrystalline ones is labelled at random, the other third is the holdout.

    python -m benchmarks.finetune [--splits 5] [--epochs 10] [--budgets 0.1 1.0] [--only supervised|stream] [--json]

A split costs about 8 minutes of two cores for each fine-tuning: an hour and a half for all of the default.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from elpv_dataset.utils import load_dataset
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits
from torch import nn

from benchmarks.embedded_set import Floats, Rows, embed_once
from benchmarks.learning import Cells, Job, parts_of
from benchmarks.result import Row, mean_of, tell
from training.anomaly import Bank
from training.backbones import load_backbone
from training.calibration_error import calibration_error
from training.evaluate import Measure
from training.finetune.held import HELD_SHARE, roles_of, seen_by
from training.finetune.plan import FineTunePlan, fastest_precision
from training.finetune.tuned import TunedTrunk, TuneRequest, tune_trunk
from training.finetune.weights import load_weights
from training.fit import FitRequest, Learnt, learn_with_bank
from training.input_choice import DEFAULT_CHOICE, MOST_VIEWS, ONE_VIEW, InputChoice
from training.torch_export import export_trunk
from training.trunk import Embedded, Trunk, float_trunk

PUBLISHED = {"accuracy: published CNN": 0.8842, "accuracy: published SVM": 0.8244}
_TEST_SHARE = 0.25
_PENALTY = 1e-3  # C of the logistic regression on frozen features
_NONE: Rows = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Scores:
    """What was measured on cells held out, and what the fit itself expected."""

    accuracy: float
    precision: float
    error: float
    claimed: float


#: By case.
Found = dict[str, Scores]


def supervised_parts(cells: Cells, kinds: np.ndarray, split: int) -> tuple[Rows, Rows]:
    """Rows to learn from and rows held out: a quarter of each type and label."""
    random = np.random.default_rng(1_000 + split)
    strata = np.char.add(kinds.astype(str), cells.labels.astype(str))
    held = np.zeros(len(strata), dtype=bool)
    for stratum in np.unique(strata):
        rows = random.permutation(np.flatnonzero(strata == stratum))
        held[rows[: round(_TEST_SHARE * len(rows))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def defect_probability(cells: Cells, learnt: Learnt, bank: Bank, rows: Rows) -> Floats:
    """What an engine of this head would say of some rows."""
    says = learnt.head.probabilities(cells.features[rows], bank.score(cells.patches[rows]))
    return np.asarray(says[:, 1], dtype=np.float64)


def measured(cells: Cells, request: FitRequest, held: Rows) -> Scores:
    """Fit, and measure on rows that nothing has seen."""
    learnt, bank, _ = learn_with_bank(request)
    p = defect_probability(cells, learnt, bank, held)
    return scores_of(p, cells.labels[held] == 1, claimed=learnt.metrics["oof_average_precision_all"])


def logistic(cells: Cells, rows: Rows, held: Rows) -> Scores:
    """Logistic regression on standardised frozen features."""
    return scores_of(frozen_probability(cells, rows, held), cells.labels[held] == 1, claimed=float("nan"))


def scores_of(p: Floats, truth: np.ndarray, claimed: float) -> Scores:
    """Compare the probability of a defect with the truth."""
    return Scores(
        accuracy=float(((p > 0.5) == truth).mean()),
        precision=float(average_precision_score(truth, p)),
        error=calibration_error(p, truth, resamples=0).value,
        claimed=claimed,
    )


def frozen_probability(cells: Cells, rows: Rows, held: Rows) -> Floats:
    """What a logistic regression on standardised frozen features says of the cells held out."""
    mean, scale = cells.features[rows].mean(axis=0), cells.features[rows].std(axis=0) + 1e-3
    with threadpool_limits(1):
        model = LogisticRegression(C=_PENALTY, max_iter=2_000).fit(
            (cells.features[rows] - mean) / scale, cells.labels[rows]
        )
    return np.asarray(model.predict_proba((cells.features[held] - mean) / scale)[:, 1], dtype=np.float64)


def luck_of_the_kept(cells: Cells, draws: int = 200) -> list[Row]:
    """How easy the cells are that no trunk is shown: average precision of frozen features on them, out of fold."""
    p = np.empty(len(cells.labels))
    for rows, held in StratifiedKFold(5, shuffle=True, random_state=0).split(cells.features, cells.labels):
        p[held] = frozen_probability(cells, rows, held)
    kept, random = roles_of(cells.groups, stopping=False).held, np.random.default_rng(0)
    quarters = [random.permutation(kept) for _ in range(draws)]
    return [
        Row.of(f"average precision: frozen features, {name}", "", [_precision(cells, p, q) for q in of])
        for name, of in (("cells no trunk is shown", [kept]), ("the others", [~kept]), ("random quarters", quarters))
    ]


def _precision(cells: Cells, p: Floats, among: np.ndarray) -> float:
    return float(average_precision_score(cells.labels[among], p[among]))


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


def with_trunk(cells: Cells, trunk: Trunk, found: Embedded, rows: Rows | slice = slice(None)) -> Cells:
    """Return the same cells with what another trunk found in some of them."""
    other = copy.copy(cells)
    other.trunk = trunk
    other.features, other.patches = np.zeros_like(cells.features), np.zeros_like(cells.patches)
    other.features[rows], other.patches[rows] = found.features, found.patches
    return other


def embedded_by(cells: Cells, trunk: Trunk, rows: Rows) -> Cells:
    """Return the same cells, embedded anew: those rows alone."""
    return with_trunk(cells, trunk, trunk.run([cells.frames[i] for i in rows]), rows)


def honest(request: FitRequest, tuned: TunedTrunk) -> FitRequest:
    """Say which examples the trunk was trained on."""
    return replace(request, examples=replace(request.examples, seen=seen_by(request.examples.groups, tuned.seen)))


def supervised(cells: Cells, turned: Cells, kinds: np.ndarray, split: int, args: argparse.Namespace) -> Found:
    """One split of all cells."""
    rows, held = supervised_parts(cells, kinds, split)

    def asked(data: Cells) -> FitRequest:
        return data.request(rows, _NONE, np.empty(0), _NONE, split)

    found = {
        "logistic regression": logistic(cells, rows, held),
        "head tier": measured(cells, asked(cells), held),
        "head tier, two views": measured(turned, asked(turned), held),
    }
    _say(f"split {split}: {found}")
    began = time.process_time()
    tuned = tuned_on(cells, asked(cells), rows, plan_of(args, split), args)
    everything = np.concatenate([rows, held])
    other = embedded_by(cells, tuned.trunk, everything)
    found["fine-tune tier"] = measured(other, honest(asked(other), tuned), held)
    found["fine-tuned, calibrated on what the trunk saw"] = measured(other, asked(other), held)
    other = embedded_by(cells, with_two_views(tuned), everything)
    found["fine-tune tier, two views"] = measured(other, honest(asked(other), tuned), held)
    _say(f"split {split}: {time.process_time() - began:.0f} s of a processor, {found}")
    return found


def stream(cells: Cells, turned: Cells, split: int, budget: float, args: argparse.Namespace) -> Found:
    """One product change: so much of the stream is labelled."""
    job = Job(strategy="random", split=split, draw=0, rounds=1, budget=budget, defect_share=None)
    parts = parts_of(cells, job)
    labelled = np.random.default_rng([split, 7]).permutation(parts.stream)[: round(budget * len(parts.stream))]
    p = np.full(len(labelled), budget)
    rows = np.concatenate([parts.factory, labelled])

    def asked(data: Cells) -> FitRequest:
        return data.request(parts.factory, labelled, p, parts.stream, split)

    name = f"mono to poly, {budget:.0%} labelled"
    found = {
        f"{name}, head tier": measured(cells, asked(cells), parts.holdout),
        f"{name}, head tier, two views": measured(turned, asked(turned), parts.holdout),
    }
    tuned = tuned_on(cells, asked(cells), rows, plan_of(args, split), args)
    everything = np.concatenate([rows, parts.stream, parts.holdout])
    for views, trunk in (("", tuned.trunk), (", two views", with_two_views(tuned))):
        other = embedded_by(cells, trunk, everything)
        found[f"{name}, fine-tune tier{views}"] = measured(other, honest(asked(other), tuned), parts.holdout)
    _say(f"split {split}: {found}")
    return found


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


def figures_of(runs: Mapping[str, Sequence[Scores]]) -> dict[str, Measure]:
    """Means over splits of each tier, with one view and with two, and what the second view brings, split by split."""
    figures = {}
    for tier, case in (("head", "head tier"), ("finetune", "fine-tune tier")):
        for measure, attribute in (("accuracy", "accuracy"), ("ap", "precision"), ("ece", "error")):
            one, two = ([getattr(s, attribute) for s in runs[name]] for name in (case, f"{case}, two views"))
            figures[f"{tier}_{measure}"] = mean_of(one)
            figures[f"{tier}_two_views_{measure}"] = mean_of(two)
            figures[f"{tier}_two_views_gain_{measure}"] = mean_of(np.subtract(two, one))
    return figures


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--splits", type=int, default=5, help="repeats, each with another seed (default 5)")
    parser.add_argument("--epochs", type=int, default=FineTunePlan().epochs, help="of fine-tuning")
    parser.add_argument("--rate", type=float, default=FineTunePlan().rate, help="learning rate at its peak")
    parser.add_argument("--first", type=int, default=0, help="number of the first split, to go on with more of them")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.1, 1.0], help="shares of the stream labelled")
    parser.add_argument("--only", choices=("supervised", "stream"), help="one of the two")
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
    args = parser.parse_args()
    cells = Cells(args.cache, "fp32", None, replace(args.input, views=ONE_VIEW))
    both_ways = float_trunk(args.cache, replace(args.input, views=MOST_VIEWS))
    turned = with_trunk(cells, both_ways, embed_once(cells.name, cells.frames, both_ways, args.cache))
    kinds = np.asarray(load_dataset()[2])
    runs: dict[str, list[Scores]] = {}
    for split in range(args.first, args.first + args.splits):
        found: Found = {}
        if args.only != "stream":
            found |= supervised(cells, turned, kinds, split, args)
        if args.only != "supervised":
            for budget in args.budgets:
                found |= stream(cells, turned, split, budget, args)
        for name, scores in found.items():
            runs.setdefault(name, []).append(scores)
    measures = {"accuracy": "accuracy", "average precision": "precision", "ECE": "error", "claimed": "claimed"}
    rows = [
        Row.of(f"{word}: {name}", "", [getattr(s, attribute) for s in scores])
        for name, scores in runs.items()
        for word, attribute in measures.items()
        if not np.isnan([getattr(s, attribute) for s in scores]).any()  # not every way of fitting claims something
    ]
    figures = {} if args.only == "stream" else figures_of(runs)
    if args.only != "stream":
        rows += [Row(case=case, unit="", median=v, low=v, high=v, n=1) for case, v in PUBLISHED.items()]
        rows += luck_of_the_kept(cells)
    tell("finetune", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
