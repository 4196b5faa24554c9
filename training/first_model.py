"""The gate's rule for an inspection's first model: there is nothing to compare it with (rule 10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.decision import Answer, Check, Decision, Finding, Role
from training.evaluate import average_precisions
from training.evidence import Evidence, PairedSet
from training.field_checks import RANKING
from training.gate_policy import GatePolicy
from training.paired import Compared, Difference, paired_differences

_ALPHA = 0.05  # one model, one question


def first_model(evidence: Evidence, policy: GatePolicy, budgets: Sequence[Check], seed: int) -> Decision:
    """Decide about a challenger without a champion."""
    broken = tuple(c.sentence for c in budgets if c.finding is Finding.FAILS)
    if broken:
        return Decision(answer=Answer.REJECT, checks=tuple(budgets), reasons=broken)
    if not any(evidence.is_defect_class) or all(evidence.is_defect_class):
        said = (
            f"first model of the inspection, whose classes are {', '.join(evidence.class_names)}: there is nothing to "
            "rank yet; it says how unlike its training images a frame is"
        )
        return Decision(answer=Answer.PROMOTE, checks=tuple(budgets), reasons=(said,))
    knows = [
        _knows(evidence, rows, where, policy, seed)
        for where, rows in (("golden samples", evidence.golden), ("field samples", evidence.field))
        if rows is not None and _both_sides(evidence, rows)
    ]
    checks = (*knows, *budgets)
    if not knows:
        names = evidence.class_names
        said = f"nothing was held out to judge it by: label {policy.min_positives} more of each of {', '.join(names)}"
        more = dict.fromkeys(names, policy.min_positives)
        return Decision(answer=Answer.NOT_ENOUGH, checks=checks, reasons=(said,), label_more=more)
    failed = [c for c in knows if c.finding is Finding.FAILS]
    if failed:
        return Decision(answer=Answer.REJECT, checks=checks, reasons=tuple(c.sentence for c in failed))
    held = [c for c in knows if c.finding is Finding.HOLDS]
    if held:
        said = "first model of the inspection: there is no champion to replace"
        return Decision(answer=Answer.PROMOTE, checks=checks, reasons=(said, *(c.sentence for c in held)))
    label_more: dict[str, int] = {}
    for check in knows:
        for name, count in check.label_more.items():
            label_more[name] = max(count, label_more.get(name, 0))
    return Decision(
        answer=Answer.NOT_ENOUGH, checks=checks, reasons=tuple(c.sentence for c in knows), label_more=label_more
    )


def _both_sides(evidence: Evidence, rows: PairedSet) -> bool:
    truth = evidence.is_defect(rows.labels)
    return bool(truth.any() and not truth.all())


def _knows(evidence: Evidence, rows: PairedSet, where: str, policy: GatePolicy, seed: int) -> Check:
    """Average precision against the share of defects, which a model that knows nothing has."""
    truth = evidence.is_defect(rows.labels)
    _, held = evidence.held(rows)

    def statistic(weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return (weight @ truth) / weight.sum(axis=1), average_precisions(truth, held, weight)

    difference = paired_differences(
        {RANKING: Compared(statistic=statistic, positive=truth)},
        rows.weight,
        truth.astype(np.int64),
        rows.group,
        resamples=policy.resamples,
        seed=seed,
    )[RANKING]
    finding = _finding(difference)
    words = {
        Finding.HOLDS: "is above chance",
        Finding.FAILS: "is not above chance",
        Finding.UNDECIDED: "is not yet shown to be above chance",
    }
    more = {}
    if finding is Finding.UNDECIDED:
        times = difference.times_more(max(difference.value, policy.worthwhile), _ALPHA)
        more = {
            name: max(1, round(int((rows.labels == k).sum()) * (min(times, 20.0) - 1)))
            for k, name in enumerate(evidence.class_names)
        }
    return Check(
        name=RANKING,
        where=where,
        role=Role.PROVE,
        finding=finding,
        sentence=f"{RANKING} on {where} {words[finding]}: {difference.challenger:.3f}, where {difference.champion:.3f} "
        f"of the samples are defects (n = {difference.n})",
        challenger=f"{difference.challenger:.3f}",
        difference=difference.measure(_ALPHA),
        limit=0.0,
        level=1 - _ALPHA,
        label_more=more,
    )


def _finding(difference: Difference) -> Finding:
    if difference.lower(_ALPHA) > 0:
        return Finding.HOLDS
    return Finding.FAILS if difference.upper(_ALPHA) < 0 else Finding.UNDECIDED
