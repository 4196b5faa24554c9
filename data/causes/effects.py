"""How large an association is: rates of two groups of parts, their difference and ratio, each with its interval.

1. Numbers: the highest fifth of the parts against the lowest; where both ends have it in common, the outer fifths
   against the three between. Texts: the parts with a value against all others. Fifths are of the population, weighted.
2. A rate is the weighted mean of truth* (:mod:`data.causes.truths`). Its interval is Clopper-Pearson's at an effective
   n (Korn & Graubard 1998): r(1−r)/V, for the upper end no more than Kish's (Σw)²/Σw² of the labelled parts, since what
   was not found may weigh more than what was. The interval of the difference and the ratio are made of those of the
   rates (MOVER; Donner & Zou 2012): they stay right with no defect in a group.
3. ``within`` is the ratio of Mantel & Haenszel 1959 over the strata of :mod:`data.causes.strata`, weighted, its
   variance linearised: what is left of the ratio among parts of the same place and shift.
4. Found ones are the largest of many, so their intervals are wider: at the level 1 − R·FDR/m for R found of m tested
   (Benjamini & Yekutieli 2005). Their point values still are too large rather than too small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from data.causes.phrases import Phrase
from data.causes.variables import Variable, weighted_ranks
from data.intervals import Estimate, clopper_pearson

_Array = NDArray[np.float64]
_MOST_REACH = 700.0  # of the logarithm of a ratio: beyond it there is no upper bound to tell
_NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Two groups of parts compared. An interval's end that is nan is unbounded.

    Attributes:
        high_group: Which parts, such as ``in the highest fifth (0.62 and more)``.
        low_group: The parts they are compared with.
        high: Rate of the target among the first.
        low: Among the second.
        difference: Of the rates.
        ratio: Of the rates.
        within: Of the rates among parts of the same strata; nan if too few can be compared.
    """

    high_group: Phrase
    low_group: Phrase
    high: Estimate
    low: Estimate
    difference: Estimate
    ratio: Estimate
    within: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        rates = {name: getattr(self, name).to_dict() for name in ("high", "low", "difference", "ratio", "within")}
        return {"high_group": str(self.high_group), "low_group": str(self.low_group), **rates}


def effect_of(
    variable: Variable,
    column: str,
    y: _Array,
    weight: _Array,
    labelled: _Array,
    strata: NDArray[np.int64],
    level: float = 0.95,
) -> Effect:
    """Compare the groups that a variable's column is about.

    Args:
        variable: The variable, n parts.
        column: One of its columns.
        y: truth*, [n].
        weight: [n].
        labelled: Parts that the row's labels alone stand for, [n].
        strata: [n].
        level: Of the intervals.
    """
    high, low, high_group, low_group = groups_of(variable, column, weight)
    a, b = (rate(y[group], weight[group], labelled[group], level) for group in (high, low))
    return Effect(
        high_group=high_group,
        low_group=low_group,
        high=a,
        low=b,
        difference=_difference(a, b),
        ratio=_ratio(a, b),
        within=_within(y, weight, strata, high, low, level),
    )


def groups_of(
    variable: Variable, column: str, weight: _Array
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Phrase, Phrase]:
    """The two groups as masks [n], and what they are."""
    if column.startswith("="):
        with_it = np.array([text == column[1:] for text in variable.texts])
        return with_it, ~with_it, Phrase("with_value", {"value": repr(column[1:])}), Phrase("other_values")
    numbers = variable.numbers
    assert numbers is not None
    ranks = weighted_ranks(numbers, weight)
    low, high = ranks <= 0.2, ranks > 0.8
    if column == "bend":
        outer = low | high
        inner = numbers[~outer] if not outer.all() else numbers
        span = {"low": float(inner.min()), "high": float(inner.max())}
        return outer, ~outer, Phrase("outer_fifths"), Phrase("inner_fifths", span)
    names = ("highest_fifth", "lowest_fifth")
    if not low.any() or not high.any():  # so many equal values that no fifth can be cut off
        high = ranks > 0.5
        low = ~high
        names = ("upper_values", "lower_values")
        if not high.any() or not low.any():
            high = numbers > numbers.min()
            low = ~high
    edges = float(numbers[high].min()), float(numbers[low].max())
    return high, low, Phrase(names[0], {"edge": edges[0]}), Phrase(names[1], {"edge": edges[1]})


def rate(y: _Array, weight: _Array, labelled: _Array, level: float = 0.95) -> Estimate:
    """A weighted rate with the interval of rule 2; its n are the labelled parts.

    >>> estimate = rate(np.array([1.0, 0.0, 0.0, 0.0]), np.ones(4), np.ones(4))
    >>> estimate.value, round(estimate.low, 4), round(estimate.high, 4)
    (0.25, 0.0063, 0.8059)
    """
    n = int(np.count_nonzero(labelled))
    total = float(weight.sum())
    if n == 0:
        return Estimate(value=_NAN, low=0.0, high=1.0, n=0, population=round(total), level=level)
    mean = float((weight * y).sum() / total)
    value = min(1.0, max(0.0, mean))
    kish = float(labelled.sum()) ** 2 / float((labelled**2).sum())
    variance = float((weight**2 * (y - mean) ** 2).sum()) / total**2
    effective = float(len(y))
    if variance > 0 and 0 < value < 1:
        effective = min(effective, value * (1 - value) / variance)
    low, _ = clopper_pearson(value * effective, effective, level)
    upper = min(effective, kish)
    _, high = clopper_pearson(value * upper, upper, level)
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=n, population=round(total), level=level)


def _difference(a: Estimate, b: Estimate) -> Estimate:
    value = a.value - b.value
    return Estimate(
        value=value,
        low=value - float(np.hypot(a.value - a.low, b.high - b.value)),
        high=value + float(np.hypot(a.high - a.value, b.value - b.low)),
        n=a.n + b.n,
        population=a.population + b.population,
        level=a.level,
    )


def _ratio(a: Estimate, b: Estimate) -> Estimate:
    # The lower end in the form without a difference of nearly equal numbers, which also holds at b = 0.
    product = a.value * b.value
    least = a.low * (2 * a.value - a.low)
    below = product + float(np.sqrt(max(0.0, product**2 - least * b.high * (2 * b.value - b.high))))
    most = a.high * (2 * a.value - a.high)
    above = product + float(np.sqrt(max(0.0, product**2 - most * b.low * (2 * b.value - b.low))))
    under = b.low * (2 * b.value - b.low)
    return Estimate(
        value=a.value / b.value if b.value > 0 else _NAN,
        low=least / below if below > 0 else 0.0,
        high=above / under if under > 0 else _NAN,
        n=a.n + b.n,
        population=a.population + b.population,
        level=a.level,
    )


def _within(
    y: _Array,
    weight: _Array,
    strata: NDArray[np.int64],
    high: NDArray[np.bool_],
    low: NDArray[np.bool_],
    level: float,
) -> Estimate:
    used = high | low
    codes, inverse = np.unique(strata[used], return_inverse=True)
    w, truth, group = weight[used], y[used], high[used].astype(np.float64)

    def totals(values: _Array) -> _Array:
        return np.asarray(np.bincount(inverse, weights=values, minlength=len(codes)), dtype=np.float64)

    a, b = totals(w * truth * group), totals(w * truth * (1 - group))
    n1, n0 = totals(w * group), totals(w * (1 - group))
    n = n1 + n0
    top, bottom = float((a * n0 / n).sum()), float((b * n1 / n).sum())
    rows = int(np.count_nonzero(((n1 > 0) & (n0 > 0))[inverse]))
    if top <= 0 or bottom <= 0:
        return Estimate(value=_NAN, low=0.0, high=_NAN, n=rows, level=level)
    # Derivatives of top and bottom by each weight, times the weight: the linearised errors of log(top/bottom).
    n_i, a_i, b_i, n1_i, n0_i = n[inverse], a[inverse], b[inverse], n1[inverse], n0[inverse]
    d_top = (truth * group * n0_i + a_i * (1 - group)) / n_i - a_i * n0_i / n_i**2
    d_bottom = (truth * (1 - group) * n1_i + b_i * group) / n_i - b_i * n1_i / n_i**2
    spread = float(np.sqrt(((w * (d_top / top - d_bottom / bottom)) ** 2).sum()))
    value, z = top / bottom, float(stats.norm.isf((1 - level) / 2))
    reach = z * spread
    return Estimate(
        value=value,
        low=float(value * np.exp(-reach)),
        high=float(value * np.exp(reach)) if reach < _MOST_REACH else _NAN,
        n=rows,
        population=round(float(n.sum())),
        level=level,
    )
