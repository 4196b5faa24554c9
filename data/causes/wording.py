"""Findings in sentences that say what was seen and no more.

1. "goes with", never "causes" or "because".
2. A rate comes with its interval and its n, and with whom it is about.
3. Each finding says what would tell whether it is a cause: an experiment, and about how large.
"""

from __future__ import annotations

import math

from data.causes.findings import Association, Basis, Causes, Lag, Speaks, Verdict
from data.intervals import Estimate

CAUTION = (
    "These are associations: what goes with what among the parts that were seen. Something else that varies within a "
    "shift may move both. An experiment tells: set the variable on purpose, in random order, and compare."
)
_SHAPES = {
    "rises": "goes with high {variable}",
    "falls": "goes with low {variable}",
    "ends": "goes with {variable} far from its middle",
    "middle": "goes with {variable} near its middle",
    "more": "goes with {variable} = {value}",
    "less": "is rarer with {variable} = {value}",
}
_COMPARED = {
    Basis.PARTS: "parts of the same place, engine and shift",
    Basis.STRETCHES: "stretches with one value, of the same week",
    Basis.SHIFTS: "shifts of the same week",
}
_FEWEST = 20  # parts a setting; fewer would leave no room for what is not foreseen
_Z = 1.959964 + 0.841621  # two-sided 5 %, power 80 %


def sentence(found: Association) -> str:
    """One association in words."""
    what = _SHAPES[found.shape].format(variable=found.variable, value=repr(found.value))
    when = f" at {found.station}" if found.station else ""
    if found.lag is not None:
        when += f", recorded {in_time(found.lag.median)} before ({_span(found.lag)})"
    text = f"{found.target} {what}{when}"
    effect = found.effect
    if effect is not None:
        text += (
            f": {_percent(effect.high.value)} of the parts {effect.high_group} "
            f"({_percent(effect.high.low)} to {_percent(effect.high.high)}, n = {effect.high.n}), "
            f"{_percent(effect.low.value)} {effect.low_group} "
            f"({_percent(effect.low.low)} to {_percent(effect.low.high)}, n = {effect.low.n})"
        )
    text += ". " + _standing(found)
    if found.companions:
        names = ", ".join(f"{c.variable} at {c.station} ({c.correlation:+.2f})" for c in found.companions)
        text += f" It moves together with {names}: the data can hardly tell which of them it is."
    return text


def experiment(found: Association) -> str | None:
    """About how many parts an experiment needs, with the variable set as in the two groups; None if unknown."""
    effect = found.effect
    if effect is None or found.verdict is not Verdict.FOUND:
        return None
    a, b = effect.high.value, effect.low.value
    if math.isnan(a) or math.isnan(b) or a == b:
        return None
    n = max(_FEWEST, math.ceil(_Z**2 * (a * (1 - a) + b * (1 - b)) / (a - b) ** 2))
    return (
        f"What would tell: about {_rounded(n):,} parts at each of two settings of {found.variable}, in random order "
        "(80 % power, if the difference is as large as it looks; found ones tend to look too large)."
    )


def population(speaks: Speaks) -> str:
    """Whom the statements are about."""
    targets = ", ".join(f"{n} {target}" for target, n in speaks.with_target.items())
    joined = ", ".join(f"{n} at {station or 'no station'}" for station, n in speaks.joined.items())
    if speaks.population == "labels":
        text = (
            f"{speaks.labelled:,} labelled parts ({targets or 'no target'}) of {speaks.parts:,} captured ones, which "
            f"stand for about {speaks.stands_for:,.0f} by their inclusion probabilities"
        )
    else:
        text = f"{speaks.parts:,} parts with {speaks.population} ({targets})"
    return f"{text}; context known of {joined or 'none'}"


def method(causes: Causes) -> str:
    """How it was looked, and what the bound is."""
    rule = "Benjamini-Hochberg" if causes.dependence.value == "positive" else "Benjamini-Yekutieli"
    return (
        f"{causes.tests} tests of parts with others of the same place, engine and {causes.shift_hours:g} hours (what "
        "stays the same for long: of stretches or shifts with others of the week), weighted by inclusion probability; "
        f"{rule} over all of them: of what is called found, at most {causes.fdr:.0%} are expected to be chance."
    )


def in_time(seconds: float) -> str:
    """A duration for people.

    >>> in_time(42), in_time(2520), in_time(9000), in_time(200000)
    ('42 s', '42 min', '2.5 h', '2.3 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def _standing(found: Association) -> str:
    units = f"{found.units:,} {found.basis.value}"
    within = found.effect.within if found.basis is Basis.PARTS and found.effect is not None else None
    told = "" if within is None or math.isnan(within.value) else f", ratio {_ratio(within)}"
    where = _COMPARED[found.basis]
    if found.verdict is Verdict.FIRST_SIGHT:
        return (
            f"This shows over all parts together (q = {found.q_first:.2g}). Among {where} ({units}) it is not "
            f"established (q = {found.q:.2g}{told}): place, engine or time may be what goes with both."
        )
    if not told and found.effect is not None and not math.isnan(found.effect.ratio.value):
        told = f"; over all parts the ratio is {_ratio(found.effect.ratio)}"
    counted = f"{found.with_target:,} of {found.labelled:,} parts whose truth is known have {found.target}"
    return f"Among {where} ({units}): q = {found.q:.2g}{told}; {counted}."


def _ratio(ratio: Estimate) -> str:
    high = "no upper bound" if math.isnan(ratio.high) else f"{ratio.high:.2g}"
    return f"{ratio.value:.2g} ({100 * ratio.level:.4g} % interval: {ratio.low:.2g} to {high})"


def _span(lag: Lag) -> str:
    return f"{in_time(lag.low)} to {in_time(lag.high)}"


def _percent(share: float) -> str:
    return "unknown" if math.isnan(share) else f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _rounded(n: int) -> int:
    """Two digits."""
    scale: int = 10 ** max(0, len(str(n)) - 2)
    return math.ceil(n / scale) * scale
