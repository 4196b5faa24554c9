"""One device's pictures watched against its reference, window by window.

1. A window's samples are bet on with what was known before it (data/drift/reference.py, rule 3), then remembered.
2. The budget of false alarms is divided among the causes, and within a cause evenly among its bets.
3. Each bet also keeps when its latest rise began (a CUSUM of its log evidence): the likely beginning of a drift.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data.drift.evidence import STAKES, Floats, advance, growth
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
BET_SHARES: Floats = np.array([SHARES[name] / BETS.count(name) for name in BETS])
_MIDDLE = 1  # the stake whose evidence tells when a rise began


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchState:
    """What is known after some windows.

    Attributes:
        evidence: R, [B, S].
        rise: Log evidence of each bet since it last was nothing, [B].
        began: How many frames were captured before that rise, [B].
        began_at: When the window opened with which it began, seconds since 1970 on the device's clock, [B].
        captured: Frames looked at since the reference.
        memory: The latest frames.
    """

    evidence: Floats
    rise: Floats
    began: NDArray[np.int64]
    began_at: Floats
    captured: int
    memory: Memory

    @property
    def total(self) -> float:
        """Evidence of drift: an alarm at 1."""
        return float(self.evidence.sum())

    @property
    def leading(self) -> int:
        """The bet with most evidence."""
        return int(np.argmax(self.evidence.sum(axis=1)))

    def by_name(self) -> dict[str, float]:
        """Evidence by what is bet on."""
        each = self.evidence.sum(axis=1)
        return {name: float(sum(each[i] for i, other in enumerate(BETS) if other == name)) for name in SHARES}

    def since_change(self) -> int:
        """How many captured frames the drift has lasted, if it is one."""
        return self.captured - int(self.began[self.leading])


def begin(reference: Reference) -> WatchState:
    """Nothing is known yet."""
    return WatchState(
        evidence=np.zeros((len(BETS), len(STAKES))),
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
        pictures: The window's samples; None if it has none.
        budget: False alarms that may have happened since the window before.
        at: When the window opened, seconds since 1970.
    """
    if pictures is None:
        return replace(state, evidence=advance(state.evidence, np.zeros_like(state.evidence), BET_SHARES, budget))
    placed, relative = reference.place(pictures), pictures.relative
    grown = growth(reference.payoffs(placed, state.memory), reference.edges, relative)
    rise = state.rise + grown[:, _MIDDLE]
    captured = state.captured + len(pictures)
    return WatchState(
        evidence=advance(state.evidence, grown, BET_SHARES, budget),
        rise=np.maximum(rise, 0.0),
        began=np.where(state.rise > 0, state.began, state.captured),
        began_at=np.where(state.rise > 0, state.began_at, at),
        captured=captured,
        memory=state.memory.after(placed, relative),
    )
