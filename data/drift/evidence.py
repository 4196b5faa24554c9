"""Evidence that a line has left its band, with a bound on false alarms that holds however long one watches.

1. A bet has a payoff g in [0, 1] for each captured frame and an edge c: while nothing drifts, the mean payoff of the
   frames that the line sees is at most c (:mod:`data.drift.band`). A frame's factor is 1 + s r (g/c - 1), with the
   stake s in (0, 1).
2. Frames were captured with unequal chances p. r = p_least/p, where p_least is the least chance that a frame of the
   window had. Given τ, the kept frames of a window are independent and were found in proportion to p, so r(g - c) has
   the mean of g - c over ALL frames, times a constant: what the sampler prefers is not mistaken for drift.
3. Shiryaev and Roberts: R becomes (R + ν Δt) · factors. While nothing drifts, R - νt never rises on average, so the
   mean time until R ≥ 1 is at least 1/ν, for whatever distribution and without a fixed end (Shin, Ramdas & Rinaldo
   2023, e-detectors). ν is the number of false alarms that may happen in a unit of time.
4. Bets and stakes are mixed: each has its share of ν, and the sum of all R is what alarms.
5. Beside each bet on the edge is one on a nearer edge, beyond which a day lies with the chance π by itself. What such
   a bet gains in a day is capped at the factor M and divided by 1 + π(M - 1): its mean is then 1 at most although some
   days lie beyond. It takes days, and finds lasting changes that are too small for the far edge. Its share of ν is
   added when a day begins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: s: a small change is found by a small stake, a large one fast by a large one.
STAKES: Floats = np.array([0.2, 0.5, 0.9])
#: π and M of rule 5: at most five units of log evidence a day, for a loss of a half.
NEAR_OUTSIDE = 0.002
_MOST_A_DAY = 300.0
_DAY_LOSS = float(np.log1p(NEAR_OUTSIDE * (_MOST_A_DAY - 1.0)))
_MOST = 1e12  # far above any alarm; keeps the numbers finite


def growth(payoffs: Floats, edges: Floats, relative: Floats) -> Floats:
    """What a window adds to the logarithm of each bet's evidence (rules 1 and 2).

    Args:
        payoffs: g, [n, B].
        edges: c in (0, 1], [B].
        relative: r in (0, 1], [n].

    Returns:
        [B, S], one column a stake.

    >>> growth(np.array([[1.0], [0.0]]), np.array([0.5]), np.ones(2)).round(3).tolist()
    [[-0.041, -0.288, -1.661]]
    """
    gain = relative[:, None] * (payoffs / edges - 1.0)
    added: Floats = np.log1p(STAKES * gain[:, :, None]).sum(axis=0)
    return added


def advance(evidence: Floats, grown: Floats, shares: Floats, budget: float) -> Floats:
    """Take over a window (rule 3).

    Args:
        evidence: R, [B, S].
        grown: Of :func:`growth`.
        shares: Of each bet in the budget, [B], summing to 1 at most.
        budget: ν Δt, the false alarms that may have happened since the window before.
    """
    begun = evidence + (budget / len(STAKES)) * shares[:, None]
    return np.minimum(begun * np.exp(np.clip(grown, -700.0, 50.0)), _MOST)


def day_factor(grown: Floats) -> Floats:
    """What a bet on the near edge has made of its evidence so far today (rule 5), from its growth since the morning."""
    return np.exp(np.clip(grown, -700.0, np.log(_MOST_A_DAY)) - _DAY_LOSS)
