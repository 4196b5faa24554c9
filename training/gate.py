"""The gate: may this challenger replace the champion? Pure: values in, a decision out.

1. PROMOTE needs every PROVE check to hold, no check to fail, and (policy.require_better) one BETTER check to hold.
   All PROVE checks must hold together, so each may use the whole error level (intersection-union test); the BETTER
   checks share theirs (Bonferroni).
2. REJECT as soon as one PROVE or GUARD check shows harm (the upper bound of the difference is below -margin), a budget
   is broken, or all BETTER checks show that the gain is less than is worth a release: more labels would not change
   that.
3. NOT_ENOUGH otherwise, with how many more labels of which class would decide: see `label_plan`.
4. Field samples, weighted by 1/probability: average precision of defects and clipped log loss (a proper score) are
   PROVE and BETTER. Log loss against the champion *recalibrated to these labels* is GUARD: a challenger that has only
   learnt the new base rate has a better log loss and knows less. Average precision does not see where a threshold
   lies: what a device decides by it is GUARD.
5. Where an inspection has more than two classes, each class is PROVE on the field by its own margin; one of fewer
   samples than can rule out a loss is GUARD.
6. Golden samples: what was known is not forgotten. PROVE for defects together and, where an inspection has more than
   two classes, for each class; a class with too few golden samples to rule out a loss of `golden_margin` is GUARD.
   Recall is a NOTE: it depends on the prior to which each engine is calibrated; average precision does not.
7. Devices and stations are GUARD, and so is the field without each device: see `slice_checks`.
8. Budgets of size and latency, and parity of the shipped variant with float, hold for every challenger.
9. Errors are budgeted over the series of challengers against the same champion: see `error_budget`.
10. Without a champion: PROMOTE if the challenger is shown to know something (average precision above the share of
   defects, on field or golden samples); REJECT if it is shown to know nothing. With a single class, or without
   defects among the classes, there is nothing to rank: budgets decide about the first model, and a later one gets
   NOT_ENOUGH until a defect class has labels.
11. What is decided with (confusion, recall, flips) is what the device decides, by each engine's own thresholds. So is
   the order in which average precision of defects ranks frames: thresholds of single classes change it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from training.budget_checks import budget_checks
from training.decision import Answer, Check, Decision, Finding, Role
from training.evidence import BadEvidence, Evidence, PairedSet, Parity
from training.field_checks import counts, field_checks, scarce_classes, shortage, too_few
from training.first_model import first_model
from training.gate_policy import GatePolicy
from training.golden_checks import golden_checks
from training.label_plan import LabelPlan, plan_labels
from training.slice_checks import slice_checks

__all__ = [
    "Answer",
    "BadEvidence",
    "Check",
    "Decision",
    "Evidence",
    "Finding",
    "GatePolicy",
    "PairedSet",
    "Parity",
    "Role",
    "judge",
]


def judge(
    evidence: Evidence,
    policy: GatePolicy,
    *,
    previous_challengers: int = 0,
    seed: int = 0,
    drawn_share: float = 1.0,
) -> Decision:
    """Decide about a challenger.

    Args:
        evidence: Both models on the same samples, and what the engines weigh.
        policy: Margins and budgets.
        previous_challengers: How many spent of the error budget against this champion before (rule 9).
        seed: Of the bootstrap.
        drawn_share: Of the labels that people are asked for, those drawn by known chances: only they count here.
    """
    budgets = budget_checks(evidence, policy)
    if not evidence.has_champion:
        return first_model(evidence, policy, budgets, seed)
    if not any(evidence.is_defect_class) or all(evidence.is_defect_class):
        return _nothing_to_rank(evidence, budgets)
    budget = policy.error_budget(previous_challengers)
    golden = golden_checks(evidence, policy, budget, seed)
    rows, short = evidence.field, shortage(evidence, policy, budget)
    if rows is None or rows.champion is None or short:
        few = (too_few(evidence, policy, budget, short), *golden, *budgets)
        decided = conclude(few, policy, drawn_share=drawn_share)
        return replace(decided, error_budget=policy.error_budget(previous_challengers, spends=False))
    checks = (
        *field_checks(evidence, rows, policy, budget, seed),
        *golden,
        *slice_checks(evidence, rows, policy, seed),
        *budgets,
    )
    following = policy.error_budget(previous_challengers + 1)
    tally, scarce = counts(evidence, rows), scarce_classes(evidence, rows)
    decided = conclude(
        checks, policy, lambda: plan_labels(checks, policy, following, tally, scarce), drawn_share=drawn_share
    )
    return replace(decided, error_budget=budget)


def conclude(
    checks: Sequence[Check],
    policy: GatePolicy,
    plan_of: Callable[[], LabelPlan] = LabelPlan,
    *,
    drawn_share: float = 1.0,
) -> Decision:
    """Rules 1 to 3, over checks that are made; `plan_of` is asked where they cannot tell."""
    failed = [c for c in checks if c.finding is Finding.FAILS and c.role in (Role.PROVE, Role.GUARD, Role.BUDGET)]
    better = [c for c in checks if c.role is Role.BETTER]
    if failed:
        return Decision(answer=Answer.REJECT, checks=tuple(checks), reasons=tuple(c.sentence for c in failed))
    if policy.require_better and better and all(c.finding is Finding.FAILS for c in better):
        return Decision(answer=Answer.REJECT, checks=tuple(checks), reasons=tuple(c.sentence for c in better))
    open_checks = [c for c in checks if c.role is Role.PROVE and c.finding is Finding.UNDECIDED]
    gains = [c for c in better if c.finding is Finding.HOLDS]
    if not open_checks and (gains or not policy.require_better):
        held = [c for c in checks if c.role is Role.PROVE]
        return Decision(answer=Answer.PROMOTE, checks=tuple(checks), reasons=tuple(c.sentence for c in (*gains, *held)))
    wanting = [*open_checks, *(better if policy.require_better and not gains else ())]
    short = {name: n for check in open_checks for name, n in check.label_more.items()}
    plan = LabelPlan() if short else plan_of()
    label_more = short or dict(plan.more)
    return Decision(
        answer=Answer.NOT_ENOUGH,
        checks=tuple(checks),
        reasons=(*_ask(label_more, plan, drawn_share), *dict.fromkeys(c.sentence for c in wanting)),
        label_more=label_more,
    )


def _nothing_to_rank(evidence: Evidence, budgets: Sequence[Check]) -> Decision:
    broken = tuple(c.sentence for c in budgets if c.finding is Finding.FAILS)
    said = (
        f"the classes are {', '.join(evidence.class_names)}: without both ok and defect classes there is nothing to "
        "rank; label what is found as a new class of kind defect"
    )
    answer = Answer.REJECT if broken else Answer.NOT_ENOUGH
    return Decision(answer=answer, checks=tuple(budgets), reasons=broken or (said,))


def _ask(label_more: dict[str, int], plan: LabelPlan, drawn_share: float) -> tuple[str, ...]:
    if not label_more:
        return ()
    wanted = " and ".join(f"{count} more of {name}" for name, count in label_more.items())
    draws = (
        "" if drawn_share >= 1 else f"the queue draws {drawn_share:.0%} of what it asks for, and only those count here"
    )
    if not plan.more:
        return (f"label {wanted}" + (f" ({draws})" if draws else ""),)
    in_all = f"some {math.ceil(plan.in_all / drawn_share)} labels in all, as the line is sampled now"
    return (f"label {wanted} ({'; '.join(filter(None, (in_all, draws)))})",)
