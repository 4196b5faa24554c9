"""The model of a line: how many frames it makes, and what an engine answers to them. No I/O.

1. Lines differ: each has its own usual share of defects, and it wanders over the hours as products and light do.
2. A bad engine is bad in one way: it fails on frames, is slow, or calls more parts defective.
3. Counts are drawn for a span at once: a day of a thousand lines is a hundred million frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sin, tau
from random import Random
from typing import Literal

Badness = Literal["none", "selftest", "crash", "slow", "shift"]
BADNESSES: tuple[Badness, ...] = ("none", "selftest", "crash", "slow", "shift")
_USUAL = (0.005, 0.04)  # share of defects, from line to line
_WANDER = 0.3  # of that share, over a day
_MOST_NORMAL = 50  # expected count from which a normal draw is as good as a binomial one


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How an engine fares in service.

    Attributes:
        fails: Share of frames on which it fails.
        latency_ms: Median time of a frame.
        calls_defective: Share of good parts that it calls defective.
    """

    fails: float = 0.0
    latency_ms: float = 12.0
    calls_defective: float = 0.0


#: What planting a bad engine means. `selftest` is refused by the trial and never serves.
BEHAVIOUR: dict[Badness, Behaviour] = {
    "none": Behaviour(),
    "selftest": Behaviour(),
    "crash": Behaviour(fails=0.2),
    "slow": Behaviour(latency_ms=90.0),
    "shift": Behaviour(calls_defective=0.25),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What a line saw in a while: frames answered, frames lost, and of the answered the defective ones."""

    answered: int
    lost: int
    defective: int
    latency_ms: float


class Line:
    """One line.

    Args:
        frames_per_second: It makes so many.
        random: Its own.
    """

    def __init__(self, frames_per_second: float, random: Random) -> None:
        self._rate = frames_per_second
        self._random = random
        self._usual = random.uniform(*_USUAL)
        self._phase = random.random()
        self._rest = 0.0

    def run(self, engine: Behaviour, *, at: float, seconds: float) -> Span:
        """What the engine answers in the `seconds` up to `at`."""
        made = self._rest + self._rate * max(0.0, seconds)
        frames, self._rest = int(made), made - int(made)
        share = self._usual * (1 + _WANDER * sin(tau * (at / 86_400 + self._phase)))
        share += (1 - share) * engine.calls_defective
        lost = self._drawn(frames, engine.fails)
        return Span(
            answered=frames - lost,
            lost=lost,
            defective=self._drawn(frames - lost, share),
            latency_ms=engine.latency_ms * self._random.lognormvariate(0.0, 0.1),
        )

    def _drawn(self, n: int, share: float) -> int:
        """A binomial draw."""
        if not n or share <= 0:
            return 0
        if n * share * (1 - share) > _MOST_NORMAL:
            drawn = round(self._random.gauss(n * share, (n * share * (1 - share)) ** 0.5))
            return min(n, max(0, drawn))
        return sum(self._random.random() < share for _ in range(n))
