"""One device's pictures watched against its reference, window by window.

1. A window's samples are bet on with what was known before it (data/drift/reference.py, rule 3), then remembered.
2. The budget of false alarms is divided among the causes, and within a cause evenly among its bets; half of each is
   for the far edges, half for the near ones.
3. Each bet also keeps when its latest rise began (a CUSUM of its log evidence): the likely beginning of a drift.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data.drift.evidence import STAKES, Floats, advance, day_factor, growth
from data.drift.memory import Memory
from data.drift.pictures import Pictures
from data.drift.reference import BETS, Reference

#: Share of the budget by what is bet on. Lamps, lenses and products change more often than anything else here.
SHARES = {
    "brightness": 0.2,
    "contrast": 0.1,
    "sharpness": 0.2,
    "clipped": 0.05,
    "novelty": 0.2,
    "direction": 0.1,
    "spot": 0.15,
}
BET_SHARES: Floats = np.array([SHARES[name] / BETS.count(name) / 2 for name in BETS])  # of either edge
_MIDDLE = 1  # the stake whose evidence tells when a rise began


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchState:
    """What is known after some windows.

    Attributes:
        evidence: R of the bets on the far edges, [B, S].
        morning: R of the bets on the near edges when the day began, [B, S].
        today: What their logarithms grew by since, [B, S].
        day: Number of that day; -1 before the first.
        unspent: False alarms that may have happened since the day began: the near bets' budget of the next day.
        rise: Log evidence of each bet since it last was nothing, [B].
        began: How many frames were captured before that rise, [B].
        began_at: When the window opened with which it began, seconds since 1970 on the device's clock, [B].
        captured: Frames looked at since the reference.
        memory: The latest frames.
    """

    evidence: Floats
    morning: Floats
    today: Floats
    day: int
    unspent: float
    rise: Floats
    began: NDArray[np.int64]
    began_at: Floats
    captured: int
    memory: Memory

    @property
    def by_bet(self) -> Floats:
        """Evidence of every bet, [B]."""
        near = self.morning * day_factor(self.today)
        each: Floats = (self.evidence + near).sum(axis=1)
        return each

    @property
    def total(self) -> float:
        """Evidence of drift: an alarm at 1."""
        return float(self.by_bet.sum())

    @property
    def leading(self) -> int:
        """The bet with most evidence."""
        return int(np.argmax(self.by_bet))

    def by_name(self) -> dict[str, float]:
        """Evidence by what is bet on."""
        each = self.by_bet
        return {name: float(sum(each[i] for i, other in enumerate(BETS) if other == name)) for name in SHARES}

    def since_change(self) -> int:
        """How many captured frames the drift has lasted, if it is one."""
        return self.captured - int(self.began[self.leading])


def begin(reference: Reference) -> WatchState:
    """Nothing is known yet."""
    none = np.zeros((len(BETS), len(STAKES)))
    return WatchState(
        evidence=none,
        morning=none,
        today=none,
        day=-1,
        unspent=0.0,
        rise=np.zeros(len(BETS)),
        began=np.zeros(len(BETS), dtype=np.int64),
        began_at=np.zeros(len(BETS)),
        captured=0,
        memory=reference.empty_memory(),
    )


def see(reference: Reference, state: WatchState, pictures: Pictures | None, *, budget: float, at: float) -> WatchState:
    """Look at one window.

    Args:
        reference: What is usual.
        state: What was known before.
        pictures: The window's samples, of one day; None if it has none.
        budget: False alarms that may have happened since the window before.
        at: When the window opened, seconds since 1970.
    """
    if pictures is None:
        none = np.zeros_like(state.evidence)
        evidence = advance(state.evidence, none, BET_SHARES, budget)
        return replace(state, evidence=evidence, unspent=state.unspent + budget)
    placed, relative = reference.place(pictures), pictures.relative
    payoffs = reference.payoffs(placed, state.memory)
    far, near = growth(payoffs, reference.edges, relative), growth(payoffs, reference.near, relative)
    morning, today, unspent = state.morning, state.today, state.unspent + budget
    day = int(pictures.day[0])
    if day != state.day:
        morning = morning * day_factor(today) if state.day >= 0 else morning
        morning = advance(morning, np.zeros_like(morning), BET_SHARES, unspent)
        today, unspent = np.zeros_like(today), 0.0
    rise = state.rise + near[:, _MIDDLE]
    return WatchState(
        evidence=advance(state.evidence, far, BET_SHARES, budget),
        morning=morning,
        today=today + near,
        day=day,
        unspent=unspent,
        rise=np.maximum(rise, 0.0),
        began=np.where(state.rise > 0, state.began, state.captured),
        began_at=np.where(state.rise > 0, state.began_at, at),
        captured=state.captured + len(pictures),
        memory=state.memory.after(placed, relative),
    )
