"""How good a plan is by the measure that the inspection declares; higher is better, cost counts negative.

Each measure takes row weights, so that a bootstrap over rows needs no copy of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.decision import risk
from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.evaluate import average_precisions
from training.goal import Costs, Goal, PlanMeasure
from training.thresholds import thresholds_by_cost

#: In words, for the record.
WORDS = {
    PlanMeasure.MEAN_AVERAGE_PRECISION: "mean defect average precision",
    PlanMeasure.WORST_CLASS_AVERAGE_PRECISION: "lowest average precision of a defect class",
    PlanMeasure.BALANCED_ACCURACY: "balanced accuracy",
    PlanMeasure.RECALL_AT_FALSE_ALARMS: "recall of defects at the stated share of false alarms",
    PlanMeasure.EXPECTED_COST: "expected cost of a frame, negative",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a plan says of n frames, and the truth.

    Attributes:
        probabilities: float [n, K], at the class shares of the frames to come.
        labels: int [n].
        prior: float [K], those class shares.
        frames: float [n], how many frames each row stands for; only measures of a rate use it.
    """

    probabilities: NDArray[np.floating]
    labels: NDArray[np.int64]
    prior: NDArray[np.float64]
    frames: NDArray[np.float64]


def plan_measures(
    goal: Goal, classes: Sequence[ClassInfo], answers: Answers, counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Measure a plan under each of b weightings.

    Args:
        goal: Whose measure counts.
        classes: K classes.
        answers: Of the plan.
        counts: float [b, n], how often each row counts.

    Returns:
        float64 [b]; 0 where nothing speaks for the measure.
    """
    defect = np.array([info.kind is Kind.DEFECT for info in classes])
    match goal.measure:
        case PlanMeasure.MEAN_AVERAGE_PRECISION:
            return np.asarray(_class_precisions(answers, defect, counts).mean(axis=0))
        case PlanMeasure.WORST_CLASS_AVERAGE_PRECISION:
            return np.asarray(_class_precisions(answers, defect, counts).min(axis=0))
        case PlanMeasure.BALANCED_ACCURACY:
            return _balanced_accuracy(answers, counts)
        case PlanMeasure.RECALL_AT_FALSE_ALARMS:
            return _recall(answers, defect, goal.false_alarm_share, counts * answers.frames)
        case PlanMeasure.EXPECTED_COST:
            assert goal.costs is not None
            weight = counts * answers.frames
            return np.asarray(-(weight @ frame_costs(goal.costs, classes, answers)) / weight.sum(axis=1))


def frame_costs(costs: Costs, classes: Sequence[ClassInfo], answers: Answers) -> NDArray[np.float64]:
    """Return what each frame costs where the verdict is that of least expected cost; float64 [n]."""
    limits = thresholds_by_cost(costs, classes)
    said = risk(np.asarray(answers.probabilities, dtype=np.float32), classes, limits)
    escape = np.array(costs.escape_by_class(classes))[answers.labels]
    ok = np.array([info.kind is Kind.OK for info in classes])[answers.labels]
    cost = np.where(said >= limits.defect, np.where(ok, costs.false_alarm, 0.0), escape)
    if costs.ask is not None:
        cost = np.where((said >= limits.unsure_low) & (said < limits.unsure_high), costs.ask, cost)
    return cost


def _class_precisions(answers: Answers, defect: NDArray[np.bool_], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average precision [c, b] of the c classes that can be told from others: defects, or all where none is one."""
    wanted = np.flatnonzero(defect) if defect.any() else np.arange(len(defect))
    if len(defect) == 2:
        wanted = wanted[:1]
    labels = answers.labels
    found = [c for c in wanted if 0 < (labels == c).sum() < len(labels)]
    if not found:
        return np.zeros((1, len(counts)))
    scores = np.asarray(answers.probabilities, dtype=np.float64)
    return np.stack([np.nan_to_num(average_precisions(labels == c, scores[:, c], counts)) for c in found])


def _balanced_accuracy(answers: Answers, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    guess = (answers.probabilities / answers.prior).argmax(axis=1)  # every class as likely as the others beforehand
    recalls = []
    for label in np.unique(answers.labels):
        weight = counts * (answers.labels == label)
        mass = weight.sum(axis=1)
        recalls.append((weight @ (guess == label)) / np.where(mass > 0, mass, 1.0))
    return np.asarray(np.mean(recalls, axis=0), dtype=np.float64)


def _recall(
    answers: Answers, defect: NDArray[np.bool_], share: float, weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    score = np.asarray(answers.probabilities, dtype=np.float64)[:, defect].sum(axis=1)
    bad = defect[answers.labels]
    order = np.argsort(-score, kind="stable")
    alarms = np.cumsum(weight[:, order] * ~bad[order], axis=1)
    within = alarms <= share * alarms[:, -1:]
    found = (weight[:, order] * bad[order] * within).sum(axis=1)
    mass = weight[:, bad].sum(axis=1)
    return np.asarray(found / np.where(mass > 0, mass, 1.0), dtype=np.float64)
