"""Where the verdict changes: from stated costs, from a required recall, or chosen on out-of-fold probabilities.

1. Costs: reject where rejecting is expected to cost less than passing (Elkan 2001). With an escape of class c at L_c
   and a false alarm at F that is where the sum of p_c / t_c reaches 1, t_c = F / (F + L_c): a threshold for each class.
   Where asking a person costs A, ask where that is less than both (Chow 1970): between A / L and 1 - A / F.
2. A required recall: each class's threshold lies as high as lets at most the allowed share of that class pass, one
   frame of an unknown score counted as passing (a conformal quantile): the promise holds for the next frame, not only
   for those seen. One threshold for all classes is taken where that rejects fewer ok frames.
3. Neither stated: the defect threshold is where the weighted balanced accuracy is best, kept between half the defect
   share and 0.6: few defects must not drag it to an end of the scale.
4. Unless asking has a stated cost, the unsure band lies around the threshold, in logits, as wide as holds a given share
   of the frames.
5. With one class the anomaly score decides alone and these stay at their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.decision import risk
from edge_client.contract.engine_metadata import ClassInfo, Kind, Thresholds
from training.goal import Costs, Goal, Recall

UNSURE_SHARE = 0.05
_HIGHEST = 0.6
_LOWEST = 1e-4  # thresholds below it would hang on probabilities that nobody can calibrate
_EDGE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Thresholds and what goes with them.

    Attributes:
        thresholds: As the engine has them.
        promised: Class -> the recall that the examples can promise, where one was required.
    """

    thresholds: Thresholds
    promised: Mapping[str, float] = field(default_factory=dict)


def choose(
    goal: Goal,
    classes: Sequence[ClassInfo],
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    *,
    unsure_share: float = UNSURE_SHARE,
) -> Chosen:
    """Choose thresholds.

    Args:
        goal: What the inspection asks.
        classes: K classes.
        probabilities: float32 [n, K], out of fold, calibrated.
        labels: int [n], the truth.
        weight: float [n], how many frames each example stands for.
        unsure_share: Share of frames that people may be asked about, where asking has no stated cost.

    Returns:
        Thresholds; the defaults where neither costs are stated nor both sides have an example.
    """
    is_defect = np.array([info.kind is Kind.DEFECT for info in classes])[labels]
    if goal.costs is not None:
        limits = thresholds_by_cost(goal.costs, classes)
        if goal.costs.ask is not None:
            return Chosen(thresholds=limits)
        return Chosen(thresholds=_with_band(limits, risk(probabilities, classes, limits), weight, unsure_share))
    if goal.recall is not None and is_defect.any() and not is_defect.all():
        limits, promised = _by_recall(goal.recall, classes, probabilities, labels, weight)
        banded = _with_band(limits, risk(probabilities, classes, limits), weight, unsure_share)
        return Chosen(thresholds=banded, promised=promised)
    p = risk(probabilities, classes, Thresholds())
    return Chosen(thresholds=choose_thresholds(p, is_defect, weight, unsure_share=unsure_share))


def thresholds_by_cost(costs: Costs, classes: Sequence[ClassInfo]) -> Thresholds:
    """Return the thresholds of least expected cost (rule 1).

    >>> round(thresholds_by_cost(Costs(escape=50.0), ()).defect, 4)
    0.0196
    """
    alarm = costs.false_alarm
    reference = alarm / (alarm + costs.escape)
    by_class = tuple(alarm / (alarm + escape) if escape else 1.0 for escape in costs.escape_by_class(classes))
    low = high = reference
    if costs.ask is not None and costs.ask / costs.escape < 1 - costs.ask / alarm:
        low, high = costs.ask / costs.escape, 1 - costs.ask / alarm
    return Thresholds(defect=reference, unsure_low=low, unsure_high=high, by_class=by_class if costs.escape_of else ())


def _by_recall(
    recall: Recall,
    classes: Sequence[ClassInfo],
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
) -> tuple[Thresholds, dict[str, float]]:
    sum_of_defects = risk(probabilities, classes, Thresholds())
    own, shared, promised = [], [], {}
    for label, info in enumerate(classes):
        member = labels == label
        if info.kind is Kind.OK or not member.any():
            own.append(1.0)
            continue
        asked = recall.of(info)
        own.append(_quantile(probabilities[member, label], weight[member], asked))
        shared.append(_quantile(sum_of_defects[member], weight[member], asked))
        one_more = weight[member].mean()
        promised[info.name] = min(asked, float(1 - one_more / (weight[member].sum() + one_more)))
    together = Thresholds(defect=min(shared), unsure_low=min(shared), unsure_high=min(shared))
    if len(shared) == 1:
        return together, promised
    defects = [t for t, info in zip(own, classes, strict=True) if info.kind is Kind.DEFECT]
    least = min(defects)
    apart = Thresholds(defect=least, unsure_low=least, unsure_high=least, by_class=tuple(own))
    ok = np.array([info.kind is Kind.OK for info in classes])[labels]

    def alarms(limits: Thresholds) -> float:
        return float(weight[ok & (risk(probabilities, classes, limits) >= limits.defect)].sum())

    return (apart if alarms(apart) < alarms(together) else together), promised


def _quantile(score: NDArray[np.float32], weight: NDArray[np.float64], recall: float) -> float:
    """Return the highest threshold that lets at most the allowed weight pass, an unknown frame's among it."""
    order = np.argsort(score, kind="stable")
    mean = weight.mean()
    allowed = (1 - recall) * (weight.sum() + mean) - mean
    passing = np.cumsum(weight[order]) - weight[order]  # where the threshold is this example's score
    rank = max(0, int(np.searchsorted(passing, allowed + 1e-9 * mean, side="right")) - 1)
    return float(np.clip(score[order][rank], _LOWEST, 1.0))


def choose_thresholds(
    defect_probability: NDArray[np.float32],
    is_defect: NDArray[np.bool_],
    weight: NDArray[np.float64],
    *,
    unsure_share: float = UNSURE_SHARE,
) -> Thresholds:
    """Choose thresholds by balanced accuracy (rule 3).

    Args:
        defect_probability: float [n], out of fold.
        is_defect: bool [n], the truth.
        weight: float [n], how many frames each example stands for.
        unsure_share: Share of frames that people may be asked about.

    Returns:
        Thresholds; the defaults where one side has no example.
    """
    if not is_defect.any() or is_defect.all():
        return Thresholds()
    p = defect_probability.astype(np.float64)
    prior = float(np.average(is_defect, weights=weight))
    low, high = min(prior / 2, _HIGHEST / 2), _HIGHEST
    order = np.argsort(p, kind="stable")
    missed = np.cumsum(np.where(is_defect, weight, 0.0)[order]) / weight[is_defect].sum()
    passed = np.cumsum(np.where(is_defect, 0.0, weight)[order]) / weight[~is_defect].sum()
    balanced = (1.0 - missed + passed) / 2  # when the threshold lies just above this example
    cut = np.append((p[order][:-1] + p[order][1:]) / 2, 1.0)
    allowed = (cut >= low) & (cut <= high)
    threshold = float(cut[allowed][np.argmax(balanced[allowed])]) if allowed.any() else float(np.clip(0.5, low, high))
    return _with_band(Thresholds(defect=threshold), defect_probability, weight, unsure_share)


def _with_band(
    limits: Thresholds, score: NDArray[np.float32], weight: NDArray[np.float64], unsure_share: float
) -> Thresholds:
    """Put the unsure band around the threshold (rule 4)."""
    p = np.clip(score.astype(np.float64), _EDGE, 1 - _EDGE)
    logit = np.log(p / (1 - p))
    threshold = limits.defect
    edge = float(np.clip(threshold, _EDGE, 1 - _EDGE))
    centre = np.log(edge / (1 - edge))
    distance = np.abs(logit - centre)
    near = np.argsort(distance, kind="stable")
    inside = np.cumsum(weight[near]) <= unsure_share * weight.sum()
    width = float(distance[near][inside].max()) if inside.any() else 0.0
    ends = [float(1 / (1 + np.exp(-(centre + side * width)))) for side in (-1, 1)]
    # Through logits and back loses the last digit: the band must hold the threshold all the same.
    return replace(limits, unsure_low=min(ends[0], threshold), unsure_high=max(ends[1], threshold))
