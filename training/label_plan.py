"""How many more labels would decide: the gate asked again, on labels that are not there yet.

1. What the next labels may show is drawn from what these leave open: if the difference is d now, then with f times the
   labels it will be d + e·sqrt(1 - 1/f), e a resample's deviation. All measures take the same resample, so that what
   goes together stays together. (This is the predictive distribution under a flat prior: the truth is d + e, and the
   new labels err around it.)
2. On each of these the gate's own rules are asked, at the level of the next challenger in the series, with errors that
   shrink as 1/sqrt(f). f is right when the chance of any decision, promotion or refusal, is `planned_chance`.
3. There is always such an f where a gain is asked for: when the bounds are closer together than the gain that is worth
   having, then either the gain is above 0 or it is below that. Where none is asked for (`require_better = false`), a
   loss near the margin is never decided, and the number is for an even chance.
4. Golden samples do not grow. Where only they are open no number of field labels decides, and none is named.
5. Labels are counted in the classes of the scarcer side, defects as a rule: the others come along as the line is
   sampled.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.decision import Check, Finding, Question, Role
from training.error_budget import ErrorBudget
from training.gate_policy import GatePolicy
from training.paired import quantile

_EVEN = 0.5
MOST_TIMES = 30.0  # asking for more than so many times the labels is not a plan
_TIMES = [*(1.05 * 1.1**k for k in range(36)), MOST_TIMES]  # the numbers of labels that are tried, over those there are
Draws = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPlan:
    """What to label.

    Attributes:
        more: Class -> how many more; empty where no number would decide.
        in_all: How many labels that is in all, as the line is sampled.
        chance: That the gate decides then.
    """

    more: Mapping[str, int] = field(default_factory=dict)
    in_all: int = 0
    chance: float = 0.0


def plan_labels(
    checks: Sequence[Check], policy: GatePolicy, next_budget: ErrorBudget, counts: Mapping[str, int], scarce: set[str]
) -> LabelPlan:
    """Find the smallest number of labels that decides.

    Args:
        checks: What was looked at.
        policy: Margins, and the chance that is planned for.
        next_budget: Levels of the challenger after this one.
        counts: Class -> field samples with a label, of classes that have any.
        scarce: Classes of the scarcer side.
    """
    asked = [(check.role, check.question) for check in checks if check.question is not None]
    blocked = any(c.role is Role.PROVE and c.question is None and c.finding is not Finding.HOLDS for c in checks)
    if not asked or not counts:
        return LabelPlan()
    asks = [_Asked.of(role, question) for role, question in asked]
    chances: dict[float, float] = {}
    wanted = policy.planned_chance if policy.require_better else _EVEN

    def enough(times: float) -> bool:
        chances[times] = _decided(asks, policy, next_budget, times, blocked)
        return chances[times] >= wanted

    times = _TIMES[bisect_left(_TIMES[:-1], True, key=enough)]
    if blocked and not chances.get(times, 0.0) >= wanted:
        return LabelPlan()
    more = {name: max(1, math.ceil(n * (times - 1))) for name, n in counts.items() if name in scarce}
    return LabelPlan(more=more, in_all=math.ceil(sum(counts.values()) * (times - 1)), chance=chances.get(times, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """A question with what is the same for every number of labels."""

    role: Role
    question: Question
    spread: float
    deviations: Draws

    @staticmethod
    def of(role: Role, question: Question) -> _Asked:
        now = question.difference
        spread = float(now.deviations.std())
        scale = now.error / spread if spread > 0 else 1.0
        return _Asked(role=role, question=question, spread=spread, deviations=now.deviations * scale)

    def later(self, times: float) -> tuple[Draws, float, float]:
        """Return the difference with `times` the labels in each draw, its error, and the effective samples."""
        now = self.question.difference
        value: Draws = now.value + self.deviations * math.sqrt(1 - 1 / times)
        return value, max(self.spread / math.sqrt(times), now.floor / times), now.effective * times


def _decided(asks: Sequence[_Asked], policy: GatePolicy, budget: ErrorBudget, times: float, blocked: bool) -> float:
    """Return the chance of a decision with `times` the labels."""
    size = len(asks[0].deviations)
    harmed, proved = np.zeros(size, dtype=bool), np.full(size, not blocked)
    better, no_gain = np.zeros(size, dtype=bool), np.ones(size, dtype=bool)
    for ask in asks:
        question = ask.question
        value, error, effective = ask.later(times)
        high = value + quantile(question.refuse, effective) * error
        level = budget.better if ask.role is Role.BETTER else budget.harm
        low = value - quantile(level * question.share, effective) * error
        if ask.role is Role.BETTER:
            better |= low > 0
            no_gain &= (high < question.margin) & (low <= 0)
        else:
            harmed |= high < -question.margin
            if ask.role is Role.PROVE:
                proved &= low > -question.margin
    if not policy.require_better:
        return float(np.mean(harmed | proved))
    if not any(ask.role is Role.BETTER for ask in asks):
        no_gain[:] = False
    return float(np.mean(harmed | no_gain | (proved & better)))
