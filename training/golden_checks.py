"""The gate's checks on the golden set: what was known is not forgotten (rule 6)."""

from __future__ import annotations

from training.decision import Check, Finding, Role
from training.error_budget import ErrorBudget
from training.evaluate import recall
from training.evidence import Evidence
from training.field_checks import RANKING, class_measures, ranking_of_defects
from training.gate_policy import GatePolicy
from training.paired import paired_differences
from training.verdict_of_bounds import not_worse

GOLDEN = "golden samples"


def golden_checks(evidence: Evidence, policy: GatePolicy, budget: ErrorBudget, seed: int) -> list[Check]:
    """Compare both models on factory samples that neither was trained on."""
    rows = evidence.golden
    if rows is None or rows.champion is None or len(rows) == 0:
        return []
    measures = class_measures(evidence, rows)
    defects = ranking_of_defects(evidence, rows)
    if defects.positive.any() and not defects.positive.all():
        measures = {RANKING: defects, **measures}
    if not measures:
        return []
    found = paired_differences(measures, rows.weight, rows.labels, rows.group, resamples=policy.resamples, seed=seed)
    refuse = policy.refuse_alpha / len(measures)
    checks = []
    for name, one in measures.items():
        n = int(min(one.positive.sum(), (~one.positive).sum()))
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
                alpha=budget.harm,
                refuse=refuse,
                role=Role.PROVE if enough else Role.GUARD,
                advice=advice,
            )
        )
    return [*checks, *_recalls(evidence)]


def _recalls(evidence: Evidence) -> list[Check]:
    """How many of each class's samples a device decides for, by each engine's own thresholds."""
    rows = evidence.golden
    assert rows is not None
    before, after = evidence.decided(rows)
    assert before is not None
    notes = []
    for k, name in enumerate(evidence.class_names):
        was, now = recall(rows.labels, before, k), recall(rows.labels, after, k)
        if now.n:
            notes.append(
                Check(
                    name=f"recall of {name}, as a device decides (n = {now.n})",
                    where=GOLDEN,
                    role=Role.NOTE,
                    finding=Finding.HOLDS,
                    sentence=f"recall of {name} on {GOLDEN}, as a device decides: {was} before, {now} now",
                    champion=f"{was.value:.3f}",
                    challenger=f"{now.value:.3f}",
                )
            )
    return notes
