"""The gate: may this challenger replace the champion? Pure: values in, a decision out.

1. PROMOTE needs every PROVE check to hold, no check to fail, and (policy.require_better) one BETTER check to hold.
   All PROVE checks must hold together, so each may use the whole error level (intersection-union test); the BETTER
   checks share theirs (Bonferroni).
2. REJECT as soon as one PROVE or GUARD check shows harm (the upper bound of the difference is below -margin), a budget
   is broken, or all BETTER checks show that it is not better: more labels would not change that.
3. NOT_ENOUGH otherwise, with how many more labels of which class would decide, at the spread that was seen.
4. Field samples, weighted by 1/probability: average precision of defects and clipped log loss (a proper score) are
   PROVE and BETTER. Log loss against the champion *recalibrated to these labels* is GUARD: a challenger that has only
   learnt the new base rate has a better log loss and knows less.
5. Golden samples: what was known is not forgotten. PROVE for defects together and, where an inspection has more than
   two classes, for each class; a class with too few golden samples to rule out a loss of `golden_margin` is GUARD.
   Recall is a NOTE: it depends on the prior to which each engine is calibrated; average precision does not.
6. Devices and stations with enough field samples are GUARD, with the refusal level shared among all refusals.
7. Budgets of size, latency and parity hold for every challenger.
8. Errors are budgeted over the series of challengers against the same champion: see `gate_policy.spent`.
9. Without a champion: PROMOTE if the challenger is shown to know something (average precision above the share of
   defects, on field or golden samples); REJECT if it is shown to know nothing. With a single class, or without
   defects among the classes, there is nothing to rank: budgets decide about the first model, and a later one gets
   NOT_ENOUGH until a defect class has labels.
"""

from __future__ import annotations

from collections.abc import Sequence

from training.budget_checks import budget_checks
from training.decision import Answer, Check, Decision, Finding, Role
from training.evidence import BadEvidence, Evidence, PairedSet, Parity
from training.field_checks import field_checks, slice_checks
from training.first_model import first_model
from training.gate_policy import GatePolicy
from training.golden_checks import golden_checks

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


def judge(evidence: Evidence, policy: GatePolicy, *, previous_challengers: int = 0, seed: int = 0) -> Decision:
    """Decide about a challenger.

    Args:
        evidence: Both models on the same samples, and what the engines weigh.
        policy: Margins and budgets.
        previous_challengers: How many were judged against this champion before (rule 8).
        seed: Of the bootstrap.
    """
    budgets = budget_checks(evidence, policy)
    if not evidence.has_champion:
        return first_model(evidence, policy, budgets, seed)
    if not any(evidence.is_defect_class) or all(evidence.is_defect_class):
        return _nothing_to_rank(evidence, budgets)
    harm, better = policy.harm_alpha(previous_challengers), policy.better_alpha(previous_challengers)
    slices = slice_checks(evidence, policy, seed)
    checks = (
        *field_checks(evidence, policy, harm=harm, better=better, seed=seed),
        *golden_checks(evidence, policy, harm=harm, seed=seed),
        *slices,
        *budgets,
    )
    return conclude(checks, policy)


def conclude(checks: Sequence[Check], policy: GatePolicy) -> Decision:
    """Rules 1 to 3, over checks that are made."""
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
    wanting = list(open_checks)
    label_more: dict[str, int] = {}
    for check in open_checks:
        label_more = _at_least(label_more, check.label_more)
    if policy.require_better and not gains:
        wanting += better
        cheapest = min(better, key=lambda c: sum(c.label_more.values()) or _NEVER, default=None)
        label_more = _at_least(label_more, cheapest.label_more if cheapest else {})
    return Decision(
        answer=Answer.NOT_ENOUGH,
        checks=tuple(checks),
        reasons=(*_ask(label_more), *dict.fromkeys(c.sentence for c in wanting)),
        label_more=label_more,
    )


_NEVER = 1 << 30


def _nothing_to_rank(evidence: Evidence, budgets: Sequence[Check]) -> Decision:
    broken = tuple(c.sentence for c in budgets if c.finding is Finding.FAILS)
    said = (
        f"the classes are {', '.join(evidence.class_names)}: without both ok and defect classes there is nothing to "
        "rank; label what is found as a new class of kind defect"
    )
    answer = Answer.REJECT if broken else Answer.NOT_ENOUGH
    return Decision(answer=answer, checks=tuple(budgets), reasons=broken or (said,))


def _at_least(one: dict[str, int], other: object) -> dict[str, int]:
    assert isinstance(other, dict)
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}


def _ask(label_more: dict[str, int]) -> tuple[str, ...]:
    if not label_more:
        return ()
    wanted = " and ".join(f"{count} more of {name}" for name, count in label_more.items())
    return (f"label {wanted}",)
