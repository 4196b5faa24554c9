"""From a paired difference and its margins to a check."""

from __future__ import annotations

from training.decision import Check, Finding, Question, Role
from training.error_budget import ErrorBudget
from training.paired import Difference


def not_worse(
    difference: Difference,
    *,
    name: str,
    where: str,
    margin: float,
    alpha: float,
    refuse: float,
    role: Role,
    grows: bool = False,
    advice: str = "",
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
        grows: Whether more field labels make the bounds narrower.
        advice: What to do about it where labelling does not help.
    """
    low, high = difference.lower(alpha), difference.upper(refuse)
    shown = f"{_signed(difference.value)}, at least {_signed(low)} with {1 - alpha:.1%} confidence (n = {difference.n})"
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
        said = f"{name} on {where}: a loss of more than {margin} cannot be ruled out: {shown}{advice}"
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
        question=Question(difference=difference, margin=margin, share=1.0, refuse=refuse) if grows else None,
    )


def is_better(
    difference: Difference,
    *,
    name: str,
    where: str,
    budget: ErrorBudget,
    share: float,
    worthwhile: float,
    refuse: float,
) -> Check:
    """Test superiority: the lower bound above 0. Its FAILS means: what there is to gain is not worth a release.

    Args:
        difference: Challenger minus champion.
        name: Of the measure.
        where: Of the samples.
        budget: Of the series.
        share: Of the level, which several tests of the same challenger divide.
        worthwhile: Gain below which a release is not worth it.
        refuse: Of the upper bound.
    """
    alpha = budget.better * share
    low, high = difference.lower(alpha), difference.upper(refuse)
    shown = f"{difference.champion:.3f} before, {difference.challenger:.3f} now"
    sure = f"at least {_signed(low)} with {1 - alpha:.1%} confidence (n = {difference.n})"
    if low > 0:
        finding, said = Finding.HOLDS, f"{name} on {where} is better: {shown}, {sure}"
    elif high < worthwhile:
        finding = Finding.FAILS
        said = (
            f"{name} on {where} gains less than {worthwhile}: {shown}, at most {_signed(high)} with "
            f"{1 - refuse:.1%} confidence (n = {difference.n})"
        )
    else:
        finding, said = Finding.UNDECIDED, f"{name} on {where} is not yet shown to be better: {shown}, {sure}"
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
        question=Question(difference=difference, margin=worthwhile, share=share, refuse=refuse),
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}"
