"""What the gate says: the answer, the checks it rests on, and the reasons in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from training.error_budget import ErrorBudget
from training.evaluate import Measure
from training.paired import Difference


class Answer(Enum):
    """The gate's three answers."""

    PROMOTE = "promote"  # it loses nothing that matters and is better somewhere
    REJECT = "reject"  # harm is shown, or more labels would not help
    NOT_ENOUGH = "not_enough"  # the evidence cannot tell yet


class Role(Enum):
    """What a check is for."""

    PROVE = "must be shown not to be worse"  # undecided blocks; shown harm refuses
    BETTER = "one of these must be shown to be better"
    GUARD = "must not be shown to be worse"  # undecided does not block; shown harm refuses
    BUDGET = "must hold"  # a hard limit
    NOTE = "for information"


class Finding(Enum):
    """What the evidence says."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What a check asks of a difference, so that it can be asked again of as many labels as there may be.

    Attributes:
        difference: Challenger minus champion, with its resamples.
        margin: What may be lost (PROVE, GUARD), or the gain that would be worth having (BETTER).
        share: Of the series' level that its lower bound has; BETTER checks share theirs.
        refuse: Level of its upper bound.
    """

    difference: Difference
    margin: float
    share: float
    refuse: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: In words, such as "average precision of defects".
        where: `field`, `golden` or `engine`, or a slice such as `field, station oven-2`.
        role: What it is for.
        finding: What the evidence says.
        champion: The champion's figure, formatted; "" without one.
        challenger: The challenger's.
        difference: Challenger minus champion with its one-sided bounds; None for budgets.
        limit: The difference that it may not fall below (or the budget).
        budget: The budget in words; "" for differences.
        level: One-sided confidence of the lower bound; None for budgets.
        sentence: The finding in one sentence.
        label_more: Class -> labels that are wanting before it can be judged at all.
        question: What more field labels would answer, for the plan of labels; None where they would not.
    """

    name: str
    where: str
    role: Role
    finding: Finding
    sentence: str
    champion: str = ""
    challenger: str = ""
    difference: Measure | None = None
    limit: float | None = None
    budget: str = ""
    level: float | None = None
    label_more: Mapping[str, int] = field(default_factory=dict)
    question: Question | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "where": self.where,
            "role": self.role.value,
            "finding": self.finding.value,
            "sentence": self.sentence,
            "champion": self.champion,
            "challenger": self.challenger,
            "difference": None if self.difference is None else self.difference.to_dict(),
            "limit": self.limit,
            "budget": self.budget,
            "level": self.level,
            "label_more": dict(self.label_more),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The gate's decision about one challenger.

    Attributes:
        answer: One of three.
        checks: Everything that was looked at.
        reasons: Why, in sentences; the first ones matter most.
        label_more: Class -> how many more labels would be enough; only with NOT_ENOUGH.
        error_budget: What it spends of the series' errors; None for a first model, which has no series.
    """

    answer: Answer
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    label_more: dict[str, int] = field(default_factory=dict)
    error_budget: ErrorBudget | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "answer": self.answer.value,
            "reasons": list(self.reasons),
            "label_more": dict(self.label_more),
            "checks": [check.to_dict() for check in self.checks],
            "error_budget": None if self.error_budget is None else self.error_budget.to_dict(),
        }
