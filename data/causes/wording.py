"""Findings in sentences that say what was seen and no more, in the reader's language.

1. "goes with", never "causes" or "because".
2. A rate comes with its interval and its n, and with whom it is about.
3. Each finding says what would tell whether it is a cause: an experiment, and about how large.
"""

from __future__ import annotations

import math

from data.causes.effects import Effect
from data.causes.findings import ANY_DEFECT, OUTCOMES, OUTCOMES_AT, Association, Basis, Causes, Lag, Speaks, Verdict
from data.causes.phrases import Speech
from data.intervals import Estimate

_FEWEST = 20  # parts a setting; fewer would leave no room for what is not foreseen
_Z = 1.959964 + 0.841621  # two-sided 5 %, power 80 %


def caution(language: str = "en") -> str:
    """What all findings are, and are not."""
    return Speech(language)("caution")


def sentence(found: Association, language: str = "en") -> str:
    """One association in words."""
    say = Speech(language)
    text = say(
        found.shape, target=target_name(found.target, language), variable=found.variable, value=repr(found.value),
        when=_when(say, found.station, found.lag),
    )  # fmt: skip
    if found.effect is not None:
        text += _rates(say, found.effect)
    text += _standing(say, found)
    if found.companions:
        names = ", ".join(
            say("companion", variable=c.variable, station=c.station, correlation=say.figure(c.correlation, "+.2f"))
            for c in found.companions
        )
        text += say("together", names=names)
    return text


def experiment(found: Association, language: str = "en") -> str | None:
    """About how many parts an experiment needs, with the variable set as in the two groups; None if unknown."""
    effect = found.effect
    if effect is None or found.verdict is not Verdict.FOUND:
        return None
    a, b = effect.high.value, effect.low.value
    if math.isnan(a) or math.isnan(b) or a == b:
        return None
    n = max(_FEWEST, math.ceil(_Z**2 * (a * (1 - a) + b * (1 - b)) / (a - b) ** 2))
    return Speech(language)("experiment", n=_rounded(n), variable=found.variable)


def population(speaks: Speaks, language: str = "en") -> str:
    """Whom the statements are about."""
    say = Speech(language)
    targets = [f"{say.figure(n, ',')} {target_name(name, language)}" for name, n in speaks.with_target.items()]
    joined = [say("n_at_station", n=n, station=name or say("no_station")) for name, n in speaks.joined.items()]
    told: dict[str, str | int] = {
        "parts": speaks.parts,
        "targets": ", ".join(targets) or say("no_target"),
        "joined": ", ".join(joined) or say("none"),
    }
    if speaks.population == "labels":
        return say("labelled_parts", labelled=speaks.labelled, stands_for=round(speaks.stands_for), **told)
    return say("other_parts", population=population_name(speaks.population, language), **told)


def method(causes: Causes, language: str = "en") -> str:
    """How it was looked, and what the bound is."""
    say = Speech(language)
    return say(
        "method",
        tests=causes.tests,
        hours=say.figure(causes.shift_hours, "g"),
        rule="Benjamini-Hochberg" if causes.dependence.value == "positive" else "Benjamini-Yekutieli",
        share=_percent(say, causes.fdr),
    )


def groups(effect: Effect, language: str = "en") -> tuple[str, str]:
    """The two groups of parts that an effect compares."""
    say = Speech(language)
    return say.say(effect.high_group), say.say(effect.low_group)


def target_name(target: str, language: str = "en") -> str:
    """A target as people are told of it: classes and outcomes as they are, the word for any defect in the language."""
    return Speech(language)("any_defect") if target == ANY_DEFECT else target


def population_name(population: str, language: str = "en") -> str:
    """A population as people are told of it."""
    say = Speech(language)
    if population.startswith(OUTCOMES_AT):
        return say("outcomes_at", stage=population.removeprefix(OUTCOMES_AT))
    return say("outcomes") if population == OUTCOMES else population


def in_time(seconds: float, language: str = "en") -> str:
    """A duration for people.

    >>> in_time(42), in_time(2520), in_time(9000), in_time(200000, "de")
    ('42 s', '42 min', '2.5 h', '2,3 Tage')
    """
    say = Speech(language)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{say.figure(seconds / 3600, '.1f')} h"
    return say("days", n=say.figure(seconds / 86_400, ".1f"))


def _when(say: Speech, station: str, lag: Lag | None) -> str:
    text = say("at_station", station=station) if station else ""
    if lag is not None:
        low, median, high = (in_time(seconds, say.language) for seconds in (lag.low, lag.median, lag.high))
        text += say("recorded_before", time=median, low=low, high=high)
    return text


def _rates(say: Speech, effect: Effect) -> str:
    told: dict[str, str | int] = {}
    for name, estimate, parts in (("a", effect.high, effect.high_group), ("b", effect.low, effect.low_group)):
        told |= {
            name: _percent(say, estimate.value),
            f"{name}_low": _percent(say, estimate.low),
            f"{name}_high": _percent(say, estimate.high),
            f"{name}_n": estimate.n,
            f"group_{name}": say.say(parts),
        }
    return say("rates", **told)


def _standing(say: Speech, found: Association) -> str:
    within = found.effect.within if found.basis is Basis.PARTS and found.effect is not None else None
    told = "" if within is None or math.isnan(within.value) else say("ratio_within", ratio=_ratio(say, within))
    among, q = say(f"among_{found.basis.value}", n=found.units), say.figure(found.q, ".2g")
    if found.verdict is Verdict.FIRST_SIGHT:
        return say("at_first_sight", among=among, q=q, q_first=say.figure(found.q_first, ".2g"), told=told)
    if not told and found.effect is not None and not math.isnan(found.effect.ratio.value):
        told = say("ratio_over_all", ratio=_ratio(say, found.effect.ratio))
    return say(
        "established", among=among, q=q, told=told, found=found.with_target, labelled=found.labelled,
        target=target_name(found.target, say.language),
    )  # fmt: skip


def _ratio(say: Speech, ratio: Estimate) -> str:
    return say(
        "ratio",
        value=say.figure(ratio.value, ".2g"),
        level=say.figure(100 * ratio.level, ".4g"),
        low=say.figure(ratio.low, ".2g"),
        high=say("no_upper_bound") if math.isnan(ratio.high) else say.figure(ratio.high, ".2g"),
    )


def _percent(say: Speech, share: float) -> str:
    if math.isnan(share):
        return say("unknown")
    return f"{say.figure(100 * share, '.2g' if share < 0.1 else '.0f')} %"


def _rounded(n: int) -> int:
    """Two digits."""
    scale: int = 10 ** max(0, len(str(n)) - 2)
    return math.ceil(n / scale) * scale
