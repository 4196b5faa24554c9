"""How many escapes and false alarms a version avoids for each frame of the line, against the champion before it. Pure.

Both models answered the same labelled field frames (`training/comparison.py`), each of which speaks for as many as
its inclusion probability says. An *escape* is a defect whose verdict is ``ok``; a *false alarm* is an ok frame that
is stopped, by ``defect`` or by ``unsure``, which costs somebody a look.

1. Frames on which both models do the same change nothing. Escapes avoided are the defects that were passed and are
   stopped, A, less those that were stopped and are passed, B; false alarms likewise, the other way round.
2. A and B are weighted sums of rare events. Each has the gamma interval for such sums, which holds at least what it
   says (Fay & Feuer 1997): money is claimed. Their difference is put together by MOVER (Zou & Donner 2008).
3. An event that no label found can only be a frame on which the models go that way: it weighs what the m labelled
   ones of those, defects or not, and z² typical frames do together (as in :func:`data.intervals.rate_interval`). So
   where the models never differ among n frames, up to four in n may still be changed, either way.
4. The unit is what near-duplicates weigh together. What was certain to be drawn (W = 1) is known and adds no doubt.
5. A rate is a share of all frames: divided by what all labelled frames weigh.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any

from scipy import stats

from data.difference import weighted_events
from data.value.amounts import Amount

PASSED = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Labelled frames of one class of which both models said the same two things.

    Attributes:
        defect: Whether the class is one.
        before: Whether the champion stopped them.
        after: Whether the challenger did.
        units: How many, near-duplicates once.
        weight: Σ W.
        square: Σ W².
        certain: Units with W = 1.
    """

    label: str
    defect: bool
    before: bool
    after: bool
    n: int
    units: int
    weight: float
    square: float
    certain: int

    @staticmethod
    def of(told: Mapping[str, Any]) -> Cell:
        """From the JSON of a decision."""
        numbers = {name: told[name] for name in ("label", "defect", "n", "units", "weight", "square", "certain")}
        return Cell(**numbers, before=told["before"] != PASSED, after=told["after"] != PASSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a version avoids, for each frame of the line.

    Attributes:
        escapes: Escapes avoided a frame.
        alarms: False alarms avoided a frame.
        n: Labelled frames that both models answered.
    """

    escapes: Amount
    alarms: Amount
    n: int


def saved_by(cells: Sequence[Cell], *, level: float = 0.95) -> Saved:
    """What the challenger of a comparison avoids against its champion.

    >>> stopped = dict(label="crack", defect=True, before=False, after=True, n=6, units=6, weight=60, square=600)
    >>> alike = dict(label="ok", defect=False, before=False, after=False, n=94, units=94, weight=940, square=9400)
    >>> found = saved_by([Cell(**told, certain=0) for told in (stopped, alike)])
    >>> found.escapes.value, found.alarms.value
    (0.06, 0.0)
    >>> 0 < found.escapes.low < 0.03, found.alarms.low < 0 < found.alarms.high
    (True, True)
    """
    n = sum(cell.n for cell in cells)
    return Saved(
        escapes=_avoided(cells, defect=True, stopped_now=True, n=n, level=level),
        alarms=_avoided(cells, defect=False, stopped_now=False, n=n, level=level),
        n=n,
    )


def _avoided(cells: Sequence[Cell], *, defect: bool, stopped_now: bool, n: int, level: float) -> Amount:
    """Rules 1, 2 and 5 for one kind of frame."""
    frames = sum(cell.weight for cell in cells)
    if frames <= 0:
        return Amount(value=0.0, low=-1.0, high=1.0, n=0)
    tail = (1 - level) / 2
    good, good_low, good_high = _events(cells, defect, stopped_now, tail)
    bad, bad_low, bad_high = _events(cells, defect, not stopped_now, tail)
    value = good - bad
    low = value - hypot(good - good_low, bad_high - bad)
    high = value + hypot(good_high - good, bad - bad_low)
    return Amount(value=value / frames, low=max(-1.0, low / frames), high=min(1.0, high / frames), n=n)


def _events(cells: Sequence[Cell], defect: bool, stopped_now: bool, tail: float) -> tuple[float, float, float]:
    """How much the frames of a kind weigh that went one way, with the ends of the interval (rules 2 to 4)."""
    moved = [cell for cell in cells if cell.before is not stopped_now and cell.after is stopped_now]
    found = [cell for cell in moved if cell.defect is defect]
    known = float(sum(cell.certain for cell in found))
    total = sum(cell.weight for cell in found) - known
    variance = sum(cell.square - cell.weight for cell in found)
    units = sum(cell.units - cell.certain for cell in found)
    z2 = float(stats.norm.ppf(tail)) ** 2
    usual = variance / total if total > 0 else 0.0
    seen = sum(cell.units - cell.certain for cell in moved)
    typical = (seen * typical_of(moved) + z2 * typical_of(cells)) / (seen + z2)
    added = max(usual, (units * usual + z2 * typical) / (units + z2))
    low, high = weighted_events(max(0.0, total), variance, added, tail, careful=True)
    return known + total, known + low, known + high


def typical_of(cells: Iterable[Cell]) -> float:
    """What a frame weighs on which nothing is certain: Σ W² / Σ W; 0 where every unit was certain, or there is none."""
    weight = square = 0.0
    for cell in cells:
        weight += cell.weight - cell.certain
        square += cell.square - cell.certain
    return square / weight if weight > 1e-9 else 0.0


def stopped_share(cells: Sequence[Cell], *, after: bool, level: float = 0.95) -> Amount | None:
    """Share of some frames that a model stops, for people's tables: recall of a class, or false alarms among ok ones.

    Args:
        cells: Of the class.
        after: The challenger's share, else the champion's.
        level: Coverage.

    Returns:
        Clopper and Pearson's interval at Kish's effective n; None where no frame of it was labelled.
    """
    weight, square = sum(cell.weight for cell in cells), sum(cell.square for cell in cells)
    if weight <= 0:
        return None
    share = sum(cell.weight for cell in cells if (cell.after if after else cell.before)) / weight
    effective = weight**2 / square
    tail, hits = (1 - level) / 2, share * effective
    low = 0.0 if share <= 0 else float(stats.beta.ppf(tail, hits, effective - hits + 1))
    high = 1.0 if share >= 1 else float(stats.beta.ppf(1 - tail, hits + 1, effective - hits))
    return Amount(value=share, low=low, high=high, n=sum(cell.n for cell in cells))
