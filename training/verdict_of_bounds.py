"""From a paired difference and its margins to a check."""

from __future__ import annotations

from collections.abc import Mapping

from training.decision import Check, Finding, Role
from training.gate_policy import GatePolicy
from training.paired import Difference

_MOST_TIMES = 20.0  # a request for more than twenty times the labels is not a plan


def not_worse(
    difference: Difference,
    *,
    name: str,
    where: str,
    margin: float,
    alpha: float,
    refuse: float,
    role: Role,
    advice: Mapping[str, int],
    advice_text: str = "",
) -> Check:
    """Test non-inferiority: the lower bound above -margin.

    Args:
        difference: Challenger minus champion.
        name: Of the measure.
        where: Of the samples.
        margin: What may be lost.
        alpha: Of the lower bound.
        refuse: Of the upper bound, with which harm is shown.
        role: PROVE or GUARD.
        advice: Class -> samples that there are, which are to be multiplied if it cannot be told.
        advice_text: What to do about it where labelling does not help.
    """
    low, high = difference.lower(alpha), difference.upper(refuse)
    shown = f"{_signed(difference.value)}, at least {_signed(low)} with {1 - alpha:.1%} confidence (n = {difference.n})"
    more: dict[str, int] = {}
    if low > -margin:
        finding, said = Finding.HOLDS, f"{name} on {where} is not worse: {shown}, margin {margin}"
    elif high < -margin:
        finding = Finding.FAILS
        said = (
            f"{name} on {where} is worse: {difference.champion:.3f} before, {difference.challenger:.3f} now, "
            f"at most {_signed(high)} with {1 - refuse:.1%} confidence (n = {difference.n}), margin {margin}"
        )
    else:
        finding = Finding.UNDECIDED
        distance = margin + max(difference.value, -margin / 2)  # a truth at the margin would never be shown
        more = more_labels(advice, difference.times_more(distance, alpha))
        said = f"{name} on {where}: a loss of more than {margin} cannot be ruled out: {shown}{advice_text}"
    return Check(
        name=name,
        where=where,
        role=role,
        finding=finding,
        sentence=said,
        champion=f"{difference.champion:.3f}",
        challenger=f"{difference.challenger:.3f}",
        difference=difference.measure(alpha),
        limit=-margin,
        level=1 - alpha,
        label_more=more,
    )


def is_better(
    difference: Difference,
    *,
    name: str,
    where: str,
    alpha: float,
    policy: GatePolicy,
    advice: Mapping[str, int],
) -> Check:
    """Test superiority: the lower bound above 0. Its FAILS means: shown not to be better."""
    low, high = difference.lower(alpha), difference.upper(policy.refuse_alpha)
    more: dict[str, int] = {}
    shown = f"{difference.champion:.3f} before, {difference.challenger:.3f} now"
    sure = f"at least {_signed(low)} with {1 - alpha:.1%} confidence (n = {difference.n})"
    if low > 0:
        finding, said = Finding.HOLDS, f"{name} on {where} is better: {shown}, {sure}"
    elif high <= 0:
        finding = Finding.FAILS
        said = f"{name} on {where} is no better: {shown}, at most {_signed(high)} (n = {difference.n})"
    else:
        finding = Finding.UNDECIDED
        gain = difference.value if difference.value > policy.worthwhile / 2 else policy.worthwhile
        more = more_labels(advice, difference.times_more(gain, alpha))
        said = f"{name} on {where} is not yet shown to be better: {shown}, {sure}"
    return Check(
        name=name,
        where=where,
        role=Role.BETTER,
        finding=finding,
        sentence=said,
        champion=f"{difference.champion:.3f}",
        challenger=f"{difference.challenger:.3f}",
        difference=difference.measure(alpha),
        limit=0.0,
        level=1 - alpha,
        label_more=more,
    )


def more_labels(have: Mapping[str, int], times: float) -> dict[str, int]:
    """Return how many more of each class make `times` as many; at least one where any is needed."""
    factor = min(times, _MOST_TIMES) - 1
    if factor <= 0:
        return dict.fromkeys(have, 1)
    return {name: max(1, round(count * factor)) for name, count in have.items()}


def _signed(value: float) -> str:
    return f"{value:+.3f}"
