"""The gate's checks on all field samples: what the line shows now (rules 4 and 5)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.decision import Check, Finding, Role
from training.error_budget import ErrorBudget, effective_needed, least_provable
from training.evaluate import average_precisions, kish, log_losses
from training.evidence import Evidence, PairedSet
from training.gate_policy import GatePolicy
from training.paired import Compared, Difference, Statistic, paired_differences
from training.recalibrate import recalibrated
from training.verdict_of_bounds import is_better, not_worse

FIELD = "field samples"
RANKING = "average precision of defects"
_LOSS = "log score"  # minus the log loss, so that more is better, as everywhere here
_KNOWLEDGE = "log score against the champion recalibrated to these labels"
_DECISIONS = "balanced accuracy of what the device decides"
_GAINS = 2  # measures of which one must be better


def field_checks(
    evidence: Evidence, rows: PairedSet, policy: GatePolicy, budget: ErrorBudget, seed: int
) -> list[Check]:
    """Compare both models on all field samples.

    Args:
        evidence: With a champion.
        rows: Its field samples, enough of them by `shortage`.
        policy: Margins.
        budget: Levels.
        seed: Of the bootstrap.
    """
    classes = class_measures(evidence, rows, policy.min_positives)
    found = compare(evidence, rows, policy, seed, classes)
    refuse = policy.refuse_alpha / (4 + len(classes))  # whichever of these can refuse

    def held(key: str, name: str, margin: float, role: Role) -> Check:
        return not_worse(
            found[key],
            name=name,
            where=FIELD,
            margin=margin,
            alpha=budget.harm,
            refuse=refuse,
            role=role,
            grows=True,
        )

    def gained(key: str, name: str) -> Check:
        return is_better(
            found[key],
            name=name,
            where=FIELD,
            budget=budget,
            share=1 / _GAINS,
            worthwhile=policy.worthwhile,
            refuse=policy.refuse_alpha,
        )

    return [
        held("ranking", RANKING, policy.field_margin, Role.PROVE),
        held("loss", _LOSS, policy.log_loss_margin, Role.PROVE),
        held("knowledge", _KNOWLEDGE, policy.log_loss_margin, Role.GUARD),
        held("decisions", _DECISIONS, policy.decision_margin, Role.GUARD),
        *(
            held(name, name, policy.class_margin, Role.PROVE if _smaller(one) >= policy.min_class else Role.GUARD)
            for name, one in classes.items()
        ),
        gained("ranking", RANKING),
        gained("loss", _LOSS),
    ]


def shortage(evidence: Evidence, policy: GatePolicy, budget: ErrorBudget) -> dict[str, int]:
    """Class -> field labels wanting before anything can be judged; empty if there are enough.

    Enough are `min_positives` of each side, and so many effective ones that a gain which is not out of reach could be
    proved at all at this level.
    """
    rows = evidence.field
    level = budget.better / _GAINS if policy.require_better else budget.harm
    needed = effective_needed(level)
    present = np.zeros(0, dtype=np.bool_) if rows is None else evidence.is_defect(rows.labels)
    wanting: dict[str, int] = {}
    for kind in (True, False):
        mine = present == kind
        names = [c for c, defect in zip(evidence.class_names, evidence.is_defect_class, strict=True) if defect is kind]
        have = int(mine.sum())
        effective = 0.0 if rows is None else kish(rows.weight[mine])
        each = effective / have if have else 1.0  # what a label of this side is worth, as unequal as the weights are
        missing = max(policy.min_positives - have, 0 if effective >= needed else math.ceil((needed - effective) / each))
        if missing > 0:
            wanting |= {name: -(-missing // len(names)) for name in names}
    return wanting


def too_few(evidence: Evidence, policy: GatePolicy, budget: ErrorBudget, short: dict[str, int]) -> Check:
    """Say that the field labels are too few to be looked at."""
    rows = evidence.field
    n, defects = (0, 0) if rows is None else (len(rows), int(evidence.is_defect(rows.labels).sum()))
    level = budget.better / _GAINS if policy.require_better else budget.harm
    effective = effective_needed(level)
    return Check(
        name=RANKING,
        where=FIELD,
        role=Role.PROVE,
        finding=Finding.UNDECIDED,
        sentence=f"{n} labelled field samples with a probability, {defects} of them defects: fewer than "
        f"{max(effective, policy.min_positives)} effective ones of each side cannot show a gain of less than "
        f"{least_provable(effective, level):.2f}; nothing was tested, nothing of the error budget is spent",
        label_more=short,
    )


def counts(evidence: Evidence, rows: PairedSet) -> dict[str, int]:
    """Class -> samples, of classes that have any."""
    tally = np.bincount(rows.labels, minlength=len(evidence.classes))
    return {name: int(n) for name, n in zip(evidence.class_names, tally, strict=True) if n}


def scarce_classes(evidence: Evidence, rows: PairedSet) -> set[str]:
    """Return the classes of the side, defects or ok, that has fewer samples; defects where they are as many."""
    defects = evidence.is_defect(rows.labels)
    scarcer = bool(defects.sum() <= (~defects).sum())
    return {c for c, defect in zip(evidence.class_names, evidence.is_defect_class, strict=True) if defect is scarcer}


def class_measures(evidence: Evidence, rows: PairedSet, least: int = 1) -> dict[str, Compared]:
    """Return each class against the rest, where an inspection has more than two and the class has samples enough."""
    if len(evidence.classes) <= 2:
        return {}
    assert rows.champion is not None
    measures = {}
    for k, name in enumerate(evidence.class_names):
        positive = np.asarray(rows.labels == k)
        if min(positive.sum(), (~positive).sum()) >= least:
            before, after = rows.champion[:, k].astype(np.float64), rows.challenger[:, k].astype(np.float64)
            measures[f"average precision of {name}"] = Compared(
                statistic=ranking(positive, before, after), positive=positive
            )
    return measures


def ranking(positive: NDArray[np.bool_], before: NDArray[np.float64], after: NDArray[np.float64]) -> Statistic:
    """Return the average precision of two models' scores, float64 [n] each."""

    def statistic(weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return average_precisions(positive, before, weight), average_precisions(positive, after, weight)

    return statistic


def ranking_of_defects(evidence: Evidence, rows: PairedSet, kept: NDArray[np.bool_] | None = None) -> Compared:
    """Return the average precision of defects on some of the samples, in the order in which a device rejects them."""
    assert rows.champion is not None
    truth = evidence.is_defect(rows.labels)
    before, after = evidence.held(rows)
    assert before is not None
    statistic = ranking(truth, before, after)
    return Compared(statistic=statistic, positive=truth, kept=kept)


def compare(
    evidence: Evidence, rows: PairedSet, policy: GatePolicy, seed: int, classes: dict[str, Compared]
) -> dict[str, Difference]:
    """Return the differences in ranking, loss, knowledge, decisions and of each class, on the same resamples."""
    assert rows.champion is not None
    truth = evidence.is_defect(rows.labels)
    best_before = recalibrated(truth, evidence.probability(rows.champion), rows.weight)
    clip = policy.log_loss_clip
    loss = _mean_score(log_losses(rows.labels, rows.champion, clip), log_losses(rows.labels, rows.challenger, clip))
    knowledge = _mean_score(
        _binary_loss(truth, best_before, clip), _binary_loss(truth, evidence.probability(rows.challenger), clip)
    )
    before, after = evidence.decided(rows)
    assert before is not None
    decisions = _balanced(truth, evidence.is_defect(before), evidence.is_defect(after))
    return paired_differences(
        {
            "ranking": ranking_of_defects(evidence, rows),
            "loss": Compared(statistic=loss, positive=truth, ranking=False),
            "knowledge": Compared(statistic=knowledge, positive=truth, ranking=False),
            "decisions": Compared(statistic=decisions, positive=truth),
            **classes,
        },
        rows.weight,
        truth.astype(np.int64),
        rows.group,
        resamples=policy.resamples,
        seed=seed,
    )


def _mean_score(before: NDArray[np.float64], after: NDArray[np.float64]) -> Statistic:
    """Minus the mean loss, so that more is better."""

    def score(weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        total = weight.sum(axis=1)
        return -(weight @ before) / total, -(weight @ after) / total

    return score


def _balanced(truth: NDArray[np.bool_], before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Statistic:
    """Return the mean of the shares of defects rejected and of ok parts passed."""

    def score(weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        defects, ok = weight @ truth, weight @ ~truth
        with np.errstate(divide="ignore", invalid="ignore"):
            one, two = (
                (weight @ (truth & said) / defects + weight @ ~(truth | said) / ok) / 2 for said in (before, after)
            )
        return one, two

    return score


def _binary_loss(truth: NDArray[np.bool_], risk: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
    return log_losses(truth.astype(np.int64), np.stack([1 - risk, risk], axis=1), clip)


def _smaller(one: Compared) -> int:
    return int(min(one.positive.sum(), (~one.positive).sum()))
