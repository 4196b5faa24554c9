"""What an analysis says: each test, its p and q, the effects of those that stand out, and what was not tested.

An association is *found* if it holds among parts of the same place and shift (or between shifts of the same week). One
that shows over all parts together and is not established so is *at first sight* only: place, engine or time may be what
goes with both, or the parts are too few to tell. Neither is a cause: something else that varies within a shift may move
both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from data.causes.discoveries import Dependence
from data.causes.effects import Effect
from data.causes.phrases import Phrase

OUTCOMES = "outcomes"  # the population of what was reported later, by stage where one was told
OUTCOMES_AT = f"{OUTCOMES} at "
ANY_DEFECT = "any defect"  # the target that holds where any class of defect does


class Verdict(str, Enum):
    """What may be said of a variable and a target."""

    FOUND = "found"  # goes with it, place and shift being equal
    FIRST_SIGHT = "first_sight"  # over all parts together it does; place and shift being equal, that is not established
    NOTHING = "nothing"  # nothing to be seen at this n


class Basis(str, Enum):
    """What was compared with what."""

    PARTS = "parts"  # parts of the same place, engine and shift
    STRETCHES = "stretches"  # stretches with one value, of the same week
    SHIFTS = "shifts"  # shifts of the same week


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """Another found variable that moves together with this one: the data can hardly tell which of them it is.

    Attributes:
        correlation: Of their ranks, over parts that have both.
    """

    station: str
    variable: str
    correlation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Seconds between the recording of the context and the truth: weighted quantiles."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """One variable at one station, and one target.

    Attributes:
        population: Of which truths: ``labels``, or ``outcomes`` with their stage.
        target: A class, ``any defect``, or an outcome.
        station: Where the variable was recorded.
        lag: None if it was recorded with the frame itself.
        parts: Captured parts of which the variable is known.
        labelled: n, of them, the ones whose truth is known.
        with_target: Of these, the ones of which the target holds.
        missing: Share of the parts, as weighted, that lack the variable.
        unjoined: Share of the population's parts of which this station recorded nothing that was captured.
        basis: What was compared.
        units: How many units the test could compare: parts, stretches or shifts, of strata in which the truth differs.
        strata: How many strata they are of.
        t: Standard errors between what was seen and no association.
        p: Of the test within strata.
        q: The same over all tests.
        p_first: Without strata.
        q_first: The same over all tests.
        shape: ``rises``, ``falls``, ``ends``, ``middle``, ``more`` (with a value) or ``less``.
        value: The value that ``more`` and ``less`` are about.
        effect: For those that stand out.
    """

    population: str
    target: str
    station: str
    variable: str
    lag: Lag | None
    parts: int
    labelled: int
    with_target: int
    missing: float
    unjoined: float
    basis: Basis
    units: int
    strata: int
    t: float
    p: float
    q: float
    p_first: float
    q_first: float
    verdict: Verdict
    shape: str
    value: str | None = None
    effect: Effect | None = None
    companions: tuple[Companion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTestable:
    """A variable, or a target, of which nothing can be said, and why."""

    population: str
    target: str | None
    station: str
    variable: str | None
    reason: Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaks:
    """Whom the statements of a population are about.

    Attributes:
        parts: Units, labelled or not.
        stands_for: Parts that they stand for, by their weights; a part seen at two stations is one.
        labelled: Units whose truth is known.
        with_target: Target -> units of which it is known to hold.
        joined: Station -> units of which its context is known.
    """

    population: str
    parts: int
    stands_for: float
    labelled: int
    with_target: Mapping[str, int]
    joined: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """An analysis. Found associations come first, then those at first sight, each by p.

    Attributes:
        tests: m, over which false discoveries are controlled.
        fdr: The level.
        shift_hours: What counts as a shift.
        not_tested: Tests left out by the bounds of the analysis.
    """

    inspection: str
    speaks: tuple[Speaks, ...]
    associations: tuple[Association, ...]
    not_testable: tuple[NotTestable, ...]
    tests: int
    fdr: float
    dependence: Dependence
    shift_hours: float
    not_tested: int = 0

    @property
    def found(self) -> tuple[Association, ...]:
        """What was found."""
        return tuple(item for item in self.associations if item.verdict is Verdict.FOUND)

    @property
    def first_sight(self) -> tuple[Association, ...]:
        """What may be due to place, engine or time."""
        return tuple(item for item in self.associations if item.verdict is Verdict.FIRST_SIGHT)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; nan becomes null."""
        value = asdict(self)
        for entry, association in zip(value["associations"], self.associations, strict=True):
            entry["effect"] = None if association.effect is None else association.effect.to_dict()
        for entry, refused in zip(value["not_testable"], self.not_testable, strict=True):
            entry["reason"] = str(refused.reason)
        plain = _plain(value)
        assert isinstance(plain, dict)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
