"""The gate's checks on the golden set: what was known is not forgotten (rule 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.decision import Check, Finding, Role
from training.evaluate import average_precisions, recall
from training.evidence import Evidence, PairedSet
from training.gate_policy import GatePolicy
from training.paired import Statistic, paired_differences
from training.verdict_of_bounds import not_worse

GOLDEN = "golden samples"
_DEFECTS = "average precision of defects"


def golden_checks(evidence: Evidence, policy: GatePolicy, *, harm: float, seed: int) -> list[Check]:
    """Compare both models on factory samples that neither was trained on."""
    rows = evidence.golden
    if rows is None or rows.champion is None or len(rows) == 0:
        return []
    measures = _measures(evidence, rows)
    if not measures:
        return []
    found = paired_differences(
        {name: (statistic, positive, True) for name, (statistic, positive) in measures.items()},
        rows.weight,
        rows.labels,
        rows.group,
        resamples=policy.resamples,
        seed=seed,
    )
    refuse = policy.refuse_alpha / len(measures)
    checks = []
    for name, (_, positive) in measures.items():
        n = int(min(positive.sum(), (~positive).sum()))
        enough = n >= policy.min_golden
        advice = (
            f"; import more labelled factory images ({n} on the smaller side now)"
            if enough
            else (f"; {n} samples are too few to rule it out, so only a loss that shows would refuse")
        )
        checks.append(
            not_worse(
                found[name],
                name=name,
                where=GOLDEN,
                margin=policy.golden_margin,
                alpha=harm,
                refuse=refuse,
                role=Role.PROVE if enough else Role.GUARD,
                advice={},
                advice_text=advice,
            )
        )
    return [*checks, *_recalls(evidence, rows)]


def _measures(evidence: Evidence, rows: PairedSet) -> dict[str, tuple[Statistic, NDArray[np.bool_]]]:
    """Defects together and, with more than two classes, each class that has samples, against the rest."""
    assert rows.champion is not None
    truth = evidence.is_defect(rows.labels)
    columns = {_DEFECTS: (truth, evidence.risk(rows.champion), evidence.risk(rows.challenger))}
    if len(evidence.classes) > 2:
        for k, name in enumerate(evidence.class_names):
            before, after = rows.champion[:, k].astype(np.float64), rows.challenger[:, k].astype(np.float64)
            columns[f"average precision of {name}"] = (np.asarray(rows.labels == k), before, after)
    return {
        name: (_ranking(positive, before, after), positive)
        for name, (positive, before, after) in columns.items()
        if positive.any() and not positive.all()
    }


def _ranking(positive: NDArray[np.bool_], before: NDArray[np.float64], after: NDArray[np.float64]) -> Statistic:
    def statistic(weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return average_precisions(positive, before, weight), average_precisions(positive, after, weight)

    return statistic


def _recalls(evidence: Evidence, rows: PairedSet) -> list[Check]:
    assert rows.champion is not None
    before, after = rows.champion.argmax(axis=1), rows.challenger.argmax(axis=1)
    notes = []
    for k, name in enumerate(evidence.class_names):
        was, now = recall(rows.labels, before, k), recall(rows.labels, after, k)
        if now.n:
            notes.append(
                Check(
                    name=f"recall of {name} (n = {now.n})",
                    where=GOLDEN,
                    role=Role.NOTE,
                    finding=Finding.HOLDS,
                    sentence=f"recall of {name} on {GOLDEN}: {was} before, {now} now",
                    champion=f"{was.value:.3f}",
                    challenger=f"{now.value:.3f}",
                )
            )
    return notes
