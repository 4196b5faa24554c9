"""The alarm threshold as a quantile of held-out ok scores, and how many frames will pass it.

1. The threshold is the r-th smallest of n held-out scores, r = ceil((n + 1)(1 - rate)): of frames like these a share
   of (n + 1 - r)/(n + 1) will pass it on average, at most the rate asked for, whatever the scores' distribution.
2. Which n frames were held out is chance, so that share is known only within an interval: it follows
   Beta(n + 1 - r, r), again whatever the distribution. The interval holds the middle 95 % of it.
3. Fewer than 1/rate - 1 frames cannot promise the rate. The threshold is then the highest score, and the sentence says
   what it promises instead and how many frames the rate needs.
4. Frames of one group (a part, a lot) are alike, and n of them tell less than n strangers. Everything above counts
   n / (1 + (m - 1) * icc) of them: m frames in the group of a frame, icc the intraclass correlation of the ranks. A
   group unlike the others, when it comes, passes as a whole. What one group alone has in common cannot be seen in it:
   its frames count in full.
5. The scores are by banks that have seen fewer frames than the bank that ships. It knows more ok frames, so that what
   passes is rather less than told.

Sources: Wilks 1941 (order statistics as tolerance limits); Vovk, Gammerman & Shafer 2005 (conformal quantile); Kish
1965 (design effect).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from training.evaluate import LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRate:
    """Which share of ok frames will pass a threshold.

    Attributes:
        asked: The share that was to pass it at most.
        value: The share that passes it on average.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Held-out ok frames that it rests on.
        effective_n: How many unrelated frames tell as much; n where each is a group of its own.
    """

    asked: float
    value: float
    low: float
    high: float
    n: int
    effective_n: float

    @property
    def frames_needed(self) -> int:
        """With how many held-out frames the share asked for can be promised."""
        return max(1, math.ceil(1.0 / self.asked - 1.0 - 1e-9))

    @property
    def kept(self) -> bool:
        """Whether the share asked for is promised."""
        return self.effective_n >= self.frames_needed - 0.5

    def __str__(self) -> str:
        """In a sentence."""
        told = (
            f"1.0 is passed by {_percent(self.value)} % of ok frames [{_percent(self.low)}, {_percent(self.high)}], "
            f"n = {self.n}"
        )
        if self.effective_n < self.n - 0.5:
            told += f", which tell as much as {self.effective_n:.0f} unrelated ones"
        if self.kept:
            return told
        what = "unrelated ok frames" if self.effective_n < self.n - 0.5 else "ok frames"
        return f"{told}: so few cannot promise {_percent(self.asked)} %, which takes {self.frames_needed} {what}"


def alarm_threshold(scores: NDArray[np.float32], groups: NDArray[np.str_], rate: float) -> tuple[float, AlarmRate]:
    """Return the threshold and the share of ok frames that will pass it.

    Args:
        scores: float32 [n], of ok frames, each by a bank that has not seen its group; n at least 1.
        groups: str [n].
        rate: Share of ok frames that may pass, between 0 and 1.

    Returns:
        The threshold (a score equal to it passes it) and what it promises.

    >>> threshold, passing = alarm_threshold(np.arange(199, dtype=np.float32), np.arange(199).astype(str), 0.01)
    >>> threshold, str(passing)
    (197.0, '1.0 is passed by 1 % of ok frames [0.12, 2.8], n = 199')
    >>> str(alarm_threshold(np.arange(30, dtype=np.float32), np.arange(30).astype(str), 0.01)[1])
    '1.0 is passed by 3.2 % of ok frames [0.084, 12], n = 30: so few cannot promise 1 %, which takes 99 ok frames'
    """
    n = len(scores)
    told = effective_frames(scores, groups)
    rank = min(n, math.ceil(n * (told + 1) * (1.0 - rate) / told - 1e-9))
    value = (told + 1 - told * rank / n) / (told + 1)
    ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = (float(special.betaincinv((told + 1) * value, (told + 1) * (1 - value), end)) for end in ends)
    return float(np.sort(scores)[rank - 1]), AlarmRate(
        asked=rate, value=value, low=low, high=high, n=n, effective_n=told
    )


def effective_frames(scores: NDArray[np.float32], groups: NDArray[np.str_]) -> float:
    """Return how many unrelated frames tell as much about the scores as these n (rule 4).

    Args:
        scores: float32 [n].
        groups: str [n].
    """
    n = len(scores)
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) in (1, n):
        return float(n)
    ranks = stats.rankdata(scores)
    means = np.bincount(index, weights=ranks) / sizes
    between = float((sizes * np.square(means - ranks.mean())).sum()) / (len(sizes) - 1)
    within = float(np.square(ranks - means[index]).sum()) / (n - len(sizes))
    typical = (n - float(np.square(sizes).sum()) / n) / (len(sizes) - 1)
    spread = between + (typical - 1.0) * within
    icc = min(1.0, max(0.0, (between - within) / spread)) if spread > 0 else 0.0
    others = float(np.square(sizes).sum()) / n - 1.0
    return n / (1.0 + others * icc)


def _percent(share: float) -> str:
    return f"{100 * share:.2g}"
