"""Which plan to train by: every candidate is tried on folds of the training data, and the table is kept.

1. Folds never split a group; each example is predicted only by heads that have not seen it or its group.
2. The measure is the mean average precision of the defect classes: on field examples once there are enough of them to
   tell plans apart, on all examples before.
3. First regularisation and field weight are chosen with class weights, then the other rebalancings are tried at that
   point. The whole grid would cost four times as much; regularisation matters more than anything else at few labels.
4. A plan must beat the default by `MARGIN` to replace it: with a hundred field labels, differences below are noise of
   the folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import average_precision_score

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.examples import Examples
from training.folds import group_folds
from training.head import LinearHead, fit_head
from training.rebalance import Balanced, Rebalance, rebalance
from training.space import FeatureSpace, learn_space

REGULARISATIONS = (3e-4, 1e-3, 3e-3, 1e-2)
FIELD_WEIGHTS = (1.0, 3.0, 8.0)
FOLDS = 5
REPEATS = 2  # a few labels make folds noisy: deal them twice
MARGIN = 0.02
#: Field examples of each side from which the field alone decides.
_ENOUGH_FIELD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to train.

    Attributes:
        rebalance: How rare classes are made to count.
        regularisation: C of the logistic regression; smaller is stronger.
        field_weight: What a field example counts against a factory example.
    """

    rebalance: Rebalance
    regularisation: float
    field_weight: float

    def __str__(self) -> str:
        """Return for example `class_weights C=0.001 field×3`."""
        return f"{self.rebalance.value} C={self.regularisation:g} field×{self.field_weight:g}"


DEFAULT = Plan(rebalance=Rebalance.CLASS_WEIGHTS, regularisation=1e-3, field_weight=3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanScore:
    """One row of the table: the mean over repeats, and each repeat."""

    plan: Plan
    score: float
    repeats: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The plan and how it was chosen.

    Attributes:
        plan: The winner.
        table: Every plan tried with its score, best first.
        measure: What the score is, and on which examples.
        prior: float [K], the class shares that the winner's logits speak for.
        oof: float64 [n, K], the winner's out-of-fold logits, mean over repeats.
        space: The coordinates all plans share.
        anomaly: float32 [n], the examples' anomaly scores.
    """

    plan: Plan
    table: tuple[PlanScore, ...]
    measure: str
    prior: NDArray[np.float64]
    oof: NDArray[np.float64]
    space: FeatureSpace
    anomaly: NDArray[np.float32]


def choose_plan(
    examples: Examples,
    classes: Sequence[ClassInfo],
    seed: int,
    *,
    anomaly: NDArray[np.float32],
    unlabelled: NDArray[np.float32] | None = None,
    plans: Sequence[Plan] | None = None,
) -> Chosen:
    """Try plans and choose.

    Args:
        examples: The training data; at least two classes with an example.
        classes: K classes in label order.
        seed: Of folds and of what rebalancing draws.
        anomaly: float32 [n], the examples' anomaly scores by banks that have not seen them.
        unlabelled: float32 [m, D], features of captured frames without a label.
        plans: Only these, instead of the two steps of rule 3.
    """
    trial = _Trial(examples, classes, seed, anomaly, unlabelled)
    results: dict[Plan, tuple[PlanScore, NDArray[np.float64]]] = {}

    def attempt(candidates: Sequence[Plan]) -> Plan:
        for plan in candidates:
            if plan not in results:
                results[plan] = trial.score(plan)
        best = max(results, key=lambda plan: results[plan][0].score)
        if DEFAULT in results and results[best][0].score < results[DEFAULT][0].score + MARGIN:
            return DEFAULT
        return best

    if plans is None:
        weights = FIELD_WEIGHTS if examples.field.any() and not examples.field.all() else (DEFAULT.field_weight,)
        grid = [
            Plan(rebalance=DEFAULT.rebalance, regularisation=c, field_weight=w)
            for w in weights
            for c in REGULARISATIONS
        ]
        found = attempt([DEFAULT, *grid])
        plans = [replace(found, rebalance=how) for how in Rebalance if how in distinct(len(classes))]
    plan = attempt(plans)
    table = sorted((score for score, _ in results.values()), key=lambda row: -row.score)
    return Chosen(
        plan=plan,
        table=tuple(table),
        measure=trial.measure,
        prior=trial.balanced(plan, np.ones(len(examples), dtype=bool)).prior,
        oof=results[plan][1],
        space=trial.space,
        anomaly=anomaly,
    )


def distinct(classes: int) -> tuple[Rebalance, ...]:
    """Return the rebalancings that can rank frames differently with K classes.

    With two, logit adjustment only moves the intercept: `none` ranks the same, and after the move to the field's class
    shares both say the same.
    """
    return tuple(how for how in Rebalance if classes > 2 or how is not Rebalance.LOGIT_ADJUSTMENT)


def train_head(examples: Examples, chosen: Chosen, *, classes: int, seed: int) -> LinearHead:
    """Train the chosen plan on all examples; the head is over `chosen.space`."""
    coordinates = chosen.space.project(examples.features, chosen.anomaly)
    plan = chosen.plan
    data = rebalance(plan.rebalance, coordinates, examples.labels, _weight(examples, plan), classes=classes, seed=seed)
    if plan.rebalance is Rebalance.LOGIT_ADJUSTMENT:
        # The same minimum by the loss itself; folds take the short way, since Lightning takes seconds to import.
        from training.lightning_head import fit_lightning_head

        return fit_lightning_head(data, regularisation=plan.regularisation, classes=classes)
    return fit_head(data, regularisation=plan.regularisation, classes=classes)


class _Trial:
    def __init__(
        self,
        examples: Examples,
        classes: Sequence[ClassInfo],
        seed: int,
        anomaly: NDArray[np.float32],
        unlabelled: NDArray[np.float32] | None,
    ) -> None:
        none = np.empty((0, examples.features.shape[1]), dtype=np.float32)
        self.space = learn_space(examples.features, anomaly, examples.field, none if unlabelled is None else unlabelled)
        self._coordinates = self.space.project(examples.features, anomaly)
        self._examples = examples
        self._classes = len(classes)
        self._seed = seed
        self._defect = np.array([c.kind is Kind.DEFECT for c in classes])
        strata = examples.labels * 2 + examples.field
        self._folds = [
            group_folds(examples.groups, strata, folds=FOLDS, seed=seed + repeat) for repeat in range(REPEATS)
        ]
        truth = self._defect[examples.labels]
        field = examples.field
        enough = min((truth & field).sum(), (~truth & field).sum()) >= _ENOUGH_FIELD
        self._judged = field if enough else np.ones(len(examples), dtype=bool)
        where = "field" if enough else "all"
        self.measure = f"mean defect average precision, out of fold, on {self._judged.sum()} {where} examples"

    def balanced(self, plan: Plan, rows: NDArray[np.bool_]) -> Balanced:
        return rebalance(
            plan.rebalance,
            self._coordinates[rows],
            self._examples.labels[rows],
            _weight(self._examples, plan)[rows],
            classes=self._classes,
            seed=self._seed,
        )

    def score(self, plan: Plan) -> tuple[PlanScore, NDArray[np.float64]]:
        logits = [self._out_of_fold(plan, folds) for folds in self._folds]
        scores = tuple(self._measure(one) for one in logits)
        return PlanScore(plan=plan, score=float(np.mean(scores)), repeats=scores), np.mean(logits, axis=0)

    def _out_of_fold(self, plan: Plan, folds: NDArray[np.int64]) -> NDArray[np.float64]:
        logits = np.zeros((len(folds), self._classes))
        parts = [folds == fold for fold in range(folds.max() + 1)]
        if len(parts) < 2:  # one group: nothing can be held out, so nothing is known
            return logits
        for held in parts:
            head = fit_head(self.balanced(plan, ~held), regularisation=plan.regularisation, classes=self._classes)
            logits[held] = head.logits(self._coordinates[held])
        return logits

    def _measure(self, logits: NDArray[np.float64]) -> float:
        probability = softmax(logits[self._judged], axis=1)
        labels = self._examples.labels[self._judged]
        wanted = np.flatnonzero(self._defect) if self._defect.any() else np.arange(self._classes)
        if self._defect.sum() == 1 or self._classes == 2:
            wanted = wanted[:1]
        found = [c for c in wanted if 0 < (labels == c).sum() < len(labels)]
        if not found:
            return 0.0
        return float(np.mean([average_precision_score(labels == c, probability[:, c]) for c in found]))


def _weight(examples: Examples, plan: Plan) -> NDArray[np.float64]:
    return np.where(examples.field, plan.field_weight, 1.0)
