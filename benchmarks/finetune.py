"""What training the trunk itself brings over a head on its embeddings, on solar cells (ELPV).

A quarter of the cells is held out, stratified by type and label as Deitsch et al. (2019) did; a cell is defective if
its probability is over 0.5. Beside the published SVM (0.8244) and CNN (0.8842) stand a regularised logistic regression
on frozen features, the everyday fit on them (head tier), and the same fit on a fine-tuned trunk, which was shown three
quarters of what may be learnt from. ECE is the calibration error on the cells held out; `claimed` the average precision
that the fit itself expects. "Two views" is the same trunk, exported to look at each frame also turned by half: a paired
comparison, on the same fine-tuned weights. One case calibrates on what the trunk was trained on, which Andon does not
do. The quarter that no trunk is shown is the same cells in every split; how easy they happen to be is told by what a
logistic regression on frozen features finds on them, on the others, and on random quarters.

    python -m benchmarks.finetune [--splits 5] [--epochs 10] [--input BACKBONE@SIDE] [--json]

A split costs about 9 minutes of two cores. `benchmarks.finetune_stream` tells of a product that changes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence

import numpy as np
from elpv_dataset.utils import load_dataset
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.embedded_set import NO_ROWS, Floats, Rows
from benchmarks.learning import Cells
from benchmarks.result import Row, mean_of, tell
from benchmarks.tuning import (
    Scores,
    add_arguments,
    honest,
    load_cells,
    measured,
    plan_of,
    rows_of,
    say,
    scores_of,
    tuned_on,
    with_trunk,
    with_two_views,
)
from training.evaluate import Measure
from training.finetune.held import roles_of
from training.fit import FitRequest

PUBLISHED = {"accuracy: published CNN": 0.8842, "accuracy: published SVM": 0.8244}
_TEST_SHARE = 0.25
_PENALTY = 1e-3  # C of the logistic regression on frozen features


def supervised_parts(cells: Cells, kinds: np.ndarray, split: int) -> tuple[Rows, Rows]:
    """Rows to learn from and rows held out: a quarter of each type and label."""
    random = np.random.default_rng(1_000 + split)
    strata = np.char.add(kinds.astype(str), cells.labels.astype(str))
    held = np.zeros(len(strata), dtype=bool)
    for stratum in np.unique(strata):
        rows = random.permutation(np.flatnonzero(strata == stratum))
        held[rows[: round(_TEST_SHARE * len(rows))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def logistic(cells: Cells, rows: Rows, held: Rows) -> Scores:
    """Logistic regression on standardised frozen features."""
    return scores_of(frozen_probability(cells, rows, held), cells.labels[held] == 1, claimed=float("nan"))


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


def supervised(
    cells: Cells, turned: Cells, kinds: np.ndarray, split: int, args: argparse.Namespace
) -> dict[str, Scores]:
    """One split of all cells."""
    rows, held = supervised_parts(cells, kinds, split)

    def asked(data: Cells) -> FitRequest:
        return data.request(rows, NO_ROWS, np.empty(0), NO_ROWS, split)

    found = {
        "logistic regression": logistic(cells, rows, held),
        "head tier": measured(cells, asked(cells), held),
        "head tier, two views": measured(turned, asked(turned), held),
    }
    say(f"split {split}: {found}")
    began = time.process_time()
    tuned = tuned_on(cells, asked(cells), rows, plan_of(args, split), args)
    other = with_trunk(cells, tuned.trunk)
    found["fine-tune tier"] = measured(other, honest(asked(other), tuned), held)
    found["fine-tuned, calibrated on what the trunk saw"] = measured(other, asked(other), held)
    other = with_trunk(cells, with_two_views(tuned))
    found["fine-tune tier, two views"] = measured(other, honest(asked(other), tuned), held)
    say(f"split {split}: {time.process_time() - began:.0f} s of a processor, {found}")
    return found


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


def main() -> None:
    """Measure each split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    args = parser.parse_args()
    cells, turned = load_cells(args)
    kinds = np.asarray(load_dataset()[2])
    runs: dict[str, list[Scores]] = {}
    for split in range(args.first, args.first + args.splits):
        for name, scores in supervised(cells, turned, kinds, split, args).items():
            runs.setdefault(name, []).append(scores)
    rows = rows_of(runs)
    rows += [Row(case=case, unit="", median=v, low=v, high=v, n=1) for case, v in PUBLISHED.items()]
    rows += luck_of_the_kept(cells)
    tell("finetune", rows, figures_of(runs), as_json=args.json)


if __name__ == "__main__":
    main()
