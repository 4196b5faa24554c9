"""Numbers with the reach of their intervals, and how they are added. Pure.

1. `together`: sums whose errors may go the same way, as those of versions that were judged on shared labels: reaches
   are added up. The interval is as wide as it can be, whatever the errors have to do with each other.
2. `apart`: sums whose errors have nothing to do with each other: reaches add in square (MOVER: Zou & Donner 2008).
3. Times a negative number the ends change places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A number, the ends of its interval, and how many labels or samples it rests on (0: it is counted, not estimated).

    >>> half = Amount(value=4.0, low=3.0, high=6.0, n=20) * -0.5
    >>> half.value, half.low, half.high
    (-2.0, -3.0, -1.5)
    """

    value: float
    low: float
    high: float
    n: int = 0

    @staticmethod
    def counted(value: float) -> Amount:
        """One that is known."""
        return Amount(value=value, low=value, high=value)

    def __mul__(self, factor: float) -> Amount:
        """Rule 3."""
        ends = sorted((self.low * factor, self.high * factor))
        return Amount(value=self.value * factor, low=ends[0], high=ends[1], n=self.n)

    def to_dict(self) -> dict[str, float | int]:
        """As JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def together(parts: Sequence[Amount]) -> Amount:
    """Rule 1; n is the largest: the labels are shared."""
    return Amount(
        value=sum(part.value for part in parts),
        low=sum(part.low for part in parts),
        high=sum(part.high for part in parts),
        n=max((part.n for part in parts), default=0),
    )


def apart(parts: Sequence[Amount]) -> Amount:
    """Rule 2.

    >>> added = apart([Amount(value=1.0, low=-2.0, high=4.0), Amount(value=1.0, low=-3.0, high=5.0)])
    >>> added.value, added.low, added.high
    (2.0, -3.0, 7.0)
    """
    value = sum(part.value for part in parts)
    return Amount(
        value=value,
        low=value - hypot(*(part.value - part.low for part in parts)),
        high=value + hypot(*(part.high - part.value for part in parts)),
        n=max((part.n for part in parts), default=0),
    )
