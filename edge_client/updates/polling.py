"""When a device looks for releases next. No I/O.

1. The pause is the configured one, with a fifth of jitter either way: devices that started together drift apart.
2. After a failed look it begins at ten seconds (or the configured pause, if that is shorter) and doubles: a network
   that returns is noticed soon, and a bucket that is down is not stormed. It ends at the configured pause, or at what
   the kind of failure may wait, if that is longer.
"""

from __future__ import annotations

import random as random_module

from edge_client.updates.outcome import Check

# A look is cheap. An update that failed on disk or machine costs a download and a trial.
_LONGEST_WAIT = {Check.OFFLINE: 10.0, Check.REFUSED: 10.0, Check.RETRY: 600.0}
_FIRST_WAIT = 10.0
_DOUBLINGS = 10


class PollSchedule:
    """Counts failures and says how long to wait.

    Args:
        seconds: The configured pause.
        random: For jitter.
    """

    def __init__(self, seconds: float, random: random_module.Random) -> None:
        self._seconds = seconds
        self._random = random
        self._failures = 0

    def after(self, check: Check) -> float:
        """Seconds until the next look, after one that ended so."""
        if check not in _LONGEST_WAIT:
            self._failures = 0
            wait = self._seconds
        else:
            self._failures += 1
            longest = max(self._seconds, _LONGEST_WAIT[check])
            wait = min(min(self._seconds, _FIRST_WAIT) * 2 ** min(self._failures, _DOUBLINGS), longest)
        return wait * self._random.uniform(0.8, 1.2)
