"""What a challenger may spend of the errors that are allowed to a whole series of challengers.

1. A series is all challengers that are judged against the same champion. It ends with a promotion.
2. A false promotion is one of a challenger that is not better (where policy asks for better), or that loses more than
   a margin. Each challenger that is no better must pass a false BETTER, each that does harm a false PROVE: so the
   chance of one false promotion is at most the larger of its two levels, and never their sum.
3. The level of the k-th challenger is the series' times `spent(k)`. The chance of any false promotion is at most the
   sum of the levels, however the tests depend on one another: the same labels may be used again and again (Boole).
   What this needs is that challenger k was not made out of the numbers of this gate; docs/gate.md says what happens
   when it was, and the benchmark measures it.
4. Whom the labels could not promote however good it is spends nothing. This is seen from counts and weights alone,
   before any score is looked at, so that it cannot favour anyone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scipy import special

#: A gain in average precision that may be taken for granted to be smaller: where only more could be proved, the
#: labels are not looked at yet (rule 4).
PROVABLE_GAIN = 0.5
_START = 2
_TOTAL = math.pi**2 / 6 - 1  # sum of 1/k^2 from 2 on
_MOST_EFFECTIVE = 200


def spent(previous_challengers: int) -> float:
    """Return the share of a series' error budget for the challenger after so many others.

    Shares fall as 1/(k + 2)^2, so that an endless series spends 1 in all.

    >>> [round(spent(k), 3) for k in (0, 1, 2, 4, 9)]
    [0.388, 0.172, 0.097, 0.043, 0.013]
    """
    return 1 / (_TOTAL * (max(0, previous_challengers) + _START) ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBudget:
    """The place of one challenger in its series.

    Attributes:
        previous: Challengers before it that spent.
        harm: Level of its tests for no harm.
        better: Level of its tests for better, shared among them.
        before: Share of the series' budget that the others have spent.
        share: Share that this one spends; 0 if it spends nothing.
    """

    previous: int
    harm: float
    better: float
    before: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "previous": self.previous,
            "harm": self.harm,
            "better": self.better,
            "before": self.before,
            "share": self.share,
        }


def budget_of(previous: int, *, harm_series: float, better_series: float, spends: bool = True) -> ErrorBudget:
    """Return the budget of the challenger after `previous` others."""
    share = spent(previous)
    return ErrorBudget(
        previous=previous,
        harm=harm_series * share,
        better=better_series * share,
        before=sum(spent(k) for k in range(previous)),
        share=share if spends else 0.0,
    )


def least_provable(effective: float, alpha: float) -> float:
    """Return the smallest gain in a ranking that so many effective samples of the smaller side could prove.

    It is the bound of `paired` with the smallest error that its rule 2 admits.

    >>> round(least_provable(20, 0.01), 2)
    0.13
    """
    if effective <= 1:
        return math.inf
    return float(special.stdtrit(max(1.0, effective - 1), 1 - alpha)) / effective


def effective_needed(alpha: float) -> int:
    """Return how many effective samples of the smaller side a challenger needs to be judged at all (rule 4)."""
    enough = (m for m in range(2, _MOST_EFFECTIVE) if least_provable(m, alpha) <= PROVABLE_GAIN)
    return next(enough, _MOST_EFFECTIVE)
