"""Plans of rebalancing beside frozen features with a balanced logistic regression, on held-out groups.

Five folds by group (near-duplicate frames are never on both sides), dealt anew in each repeat; by frame with
`--by-frame`. On the four training folds every plan chooses its regularisation on folds of its own and is trained; the
held-out fold measures. "chosen" is the whole search as a retrain runs it. The peers are scikit-learn's
LogisticRegression(class_weight="balanced") over the standardised features of the last stage, and over all levels,
C = 1 as it comes and C chosen by cross-validation.

    python -m benchmarks.rebalancing --tiles PATH [--long-tail 30] [--input CHOICE] [--repeats 5] [--json]
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.embedded_set import EmbeddedSet, Rows
from benchmarks.plan_sets import embedded_set
from benchmarks.result import Row, mean_of, tell
from edge_client.contract.engine_metadata import Kind
from training.fit import learn, score_examples
from training.folds import group_folds
from training.input_choice import DEFAULT_CHOICE, InputChoice
from training.plans import DEFAULT, LADDER, Plan
from training.rebalance import Rebalance

FOLDS = 5
CHOSEN = "chosen"
#: The default rebalancing over the last stage's mean-pooled features alone: what the other levels bring.
LAST_ALONE = "class_weights, last features alone"
PEERS = {
    "peer: last features, C = 1": (False, None),
    "peer: last features, C chosen": (False, (1e-4, 1e-3, 1e-2, 1e-1, 1.0)),
    "peer: all levels, C = 1": (True, None),
    "peer: all levels, C chosen": (True, (1e-4, 1e-3, 1e-2, 1e-1, 1.0)),
}
_C = LADDER[1:6:2]  # half of the ladder: each case is fitted some thousand times
Answer = Callable[[Rows, Rows, int], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One repeat: all folds' held-out answers together.

    Attributes:
        by_class: Average precision of each class.
        balanced_accuracy: Mean recall, each frame given its likeliest class were all classes equally frequent.
        accuracy: Share given its class.
    """

    by_class: NDArray[np.float64]
    balanced_accuracy: float
    accuracy: float


def scores_of(labels: Rows, probabilities: NDArray[np.float64], balanced: NDArray[np.float64]) -> Scores:
    """Measure answers; `balanced` are those at equal class shares."""
    guess = balanced.argmax(axis=1)
    return Scores(
        by_class=np.array([average_precision_score(labels == c, probabilities[:, c]) for c in range(len(balanced[0]))]),
        balanced_accuracy=float(np.mean([(guess[labels == c] == c).mean() for c in np.unique(labels)])),
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
    )


def plans_of(name: str) -> list[Plan] | None:
    """Return the candidates of a case: one rebalancing at several regularisations; None is the whole search."""
    if name == CHOSEN:
        return None
    how = DEFAULT.rebalance if name == LAST_ALONE else Rebalance(name)
    return [Plan(rebalance=how, regularisation=c, field_weight=DEFAULT.field_weight) for c in _C]


def repeat(data: EmbeddedSet, names: Sequence[str], seed: int, thin: Callable[[Rows, int], Rows]) -> dict[str, Scores]:
    """Run every case over one deal of folds by the data's groups."""
    fold = group_folds(data.groups, data.labels, folds=FOLDS, seed=1_000 + seed)
    k = len(data.classes)
    answers = {name: (np.zeros((len(fold), k)), np.zeros((len(fold), k))) for name in names}
    for held in range(FOLDS):
        train, test = thin(np.flatnonzero(fold != held), seed), np.flatnonzero(fold == held)
        scored = score_examples(data.factory_request(train, seed=seed))
        anomaly = data.anomaly(scored.bank, test)
        for name in names:
            said, even = answers[name]
            if name in PEERS:
                said[test] = even[test] = peer(data, name, train, test)
                continue
            seen = copy(data)
            if name == LAST_ALONE:
                seen.features = data.features[:, : data.trunk.embedding_width]
            learnt = learn(seen.factory_request(train, seed=seed, plans=plans_of(name)), scored.scores)
            said[test] = learnt.head.probabilities(seen.features[test], anomaly)
            even[test] = said[test] / learnt.prior
            if name == CHOSEN and learnt.chosen:
                print(f"  repeat {seed} fold {held}: {learnt.chosen.plan}", file=sys.stderr, flush=True)
    return {name: scores_of(data.labels, *answers[name]) for name in names}


def peer(data: EmbeddedSet, name: str, train: Rows, test: Rows) -> NDArray[np.float64]:
    """Fit and ask a peer."""
    all_levels, grid = PEERS[name]
    width = data.features.shape[1] if all_levels else data.trunk.embedding_width
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1_000, tol=1e-3))
    if grid:
        model = GridSearchCV(
            model, {"logisticregression__C": grid}, scoring="roc_auc_ovr", cv=3
        )  # average precision has no one-against-rest scorer for several classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data.features[train, :width], data.labels[train])
    return np.asarray(model.predict_proba(data.features[test, :width]), dtype=np.float64)


def thinner(data: EmbeddedSet, ratio: float | None) -> Callable[[Rows, int], Rows]:
    """Return what makes training rows a long tail: the rarest class has 1/ratio of the commonest's, others between."""
    if ratio is None:
        return lambda rows, _: rows
    defects = [c for c, info in enumerate(data.classes) if info.kind is Kind.DEFECT]

    def thin(rows: Rows, seed: int) -> Rows:
        random = np.random.default_rng(seed)
        most = max(int((data.labels[rows] == c).sum()) for c in range(len(data.classes)))
        kept = [rows[~np.isin(data.labels[rows], defects)]]
        for rank, c in enumerate(random.permutation(defects)):  # another class is the rarest in each repeat
            members = random.permutation(rows[data.labels[rows] == c])
            kept.append(members[: max(1, round(most * ratio ** -((rank + 1) / len(defects))))])
        return np.sort(np.concatenate(kept))

    return thin


def main() -> None:
    """Compare plans."""
    every = [CHOSEN, *(how.value for how in Rebalance), LAST_ALONE, *PEERS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--tiles", type=Path, help="folder or tar of labelled images (default: the solar cells)")
    parser.add_argument("--repeats", type=int, default=5, help="deals of the five folds")
    parser.add_argument("--by-frame", action="store_true", help="split near-duplicates too, as is often published")
    parser.add_argument("--long-tail", type=float, metavar="RATIO", help="thin training classes: commonest over rarest")
    parser.add_argument(
        "--input", type=InputChoice.parse, default=DEFAULT_CHOICE, metavar="CHOICE", help=f"default {DEFAULT_CHOICE}"
    )
    parser.add_argument("--plans", nargs="+", choices=every, default=every, metavar="NAME", help="default: all")
    args = parser.parse_args()
    data = embedded_set(args.tiles, args.cache, args.input)
    if args.by_frame:
        data.groups = np.arange(len(data.labels)).astype(str)
    print(f"{data.name}: {len(data.labels)} frames in {len(set(data.groups))} groups", file=sys.stderr)
    names = list(dict.fromkeys([CHOSEN, *args.plans]))
    with threadpool_limits(1):
        runs = [repeat(data, names, seed, thinner(data, args.long_tail)) for seed in range(args.repeats)]
    defect = np.array([info.kind is Kind.DEFECT for info in data.classes])
    rows = []
    for name in names:
        mine = [run[name] for run in runs]
        rows += [
            Row.of(f"{name}: mean AP of defects", "", [s.by_class[defect].mean() for s in mine]),
            Row.of(f"{name}: worst class AP", "", [s.by_class[defect].min() for s in mine]),
            Row.of(f"{name}: balanced accuracy", "", [s.balanced_accuracy for s in mine]),
            Row.of(f"{name}: accuracy", "", [s.accuracy for s in mine]),
        ]
        if name == CHOSEN or name in PEERS:
            for c, info in enumerate(data.classes):
                rows.append(Row.of(f"{name}: AP {info.name}", "", [s.by_class[c] for s in mine]))
    chosen = [run[CHOSEN] for run in runs]
    figures = {
        "mean_ap": mean_of([float(s.by_class[defect].mean()) for s in chosen]),
        "worst_class_ap": mean_of([float(s.by_class[defect].min()) for s in chosen]),
        "balanced_accuracy": mean_of([s.balanced_accuracy for s in chosen]),
    }
    against = next((name for name in names if name in PEERS), None)
    if against:
        figures["worst_class_ap_over_peer"] = mean_of(
            [float(run[CHOSEN].by_class[defect].min() - run[against].by_class[defect].min()) for run in runs]
        )
        figures["balanced_accuracy_over_peer"] = mean_of(
            [run[CHOSEN].balanced_accuracy - run[against].balanced_accuracy for run in runs]
        )
    tell("rebalancing", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
