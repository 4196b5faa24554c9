"""When a request is given up: the rules, without socket or clock.

1. In every `stall_seconds` at least `stall_seconds` · `least_bytes_per_second` bytes must arrive at either side; a
   server that thinks for longer, or trickles, has stalled.
2. The whole takes at most `total_seconds`, and at most what its bytes take at the least rate.
3. Time that this side rests on purpose (a bandwidth limit) does not count.

A library's read time-out is no such rule: it begins anew with every byte.

>>> progress = Progress(Pace(stall_seconds=10, least_bytes_per_second=100), at=0.0)
>>> progress.judge(9.0, moved=9), progress.judge(10.0, moved=2000)
('', '')
>>> progress.judge(20.5, moved=2010)
'10 bytes moved in 10 s: at least 1000 were expected'
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What is expected of a request.

    Attributes:
        stall_seconds: Longest time without noticeable progress; also how long a server may think.
        least_bytes_per_second: What progress is.
        total_seconds: Longest time of any request.
    """

    stall_seconds: float = 30.0
    least_bytes_per_second: float = 1000.0
    total_seconds: float = 3600.0

    def longest_seconds(self, expected_bytes: int) -> float:
        """Return the longest time of a request that moves so many bytes (rule 2)."""
        return min(self.total_seconds, 2 * self.stall_seconds + expected_bytes / self.least_bytes_per_second)


class Progress:
    """One request under the rules.

    Args:
        pace: What is expected.
        at: Seconds, when it began.
        expected_bytes: What it moves, as far as known.
    """

    def __init__(self, pace: Pace, *, at: float, expected_bytes: int = 0) -> None:
        self._pace = pace
        self._begun = self._since = at
        self._longest = pace.longest_seconds(expected_bytes)
        self._moved_before = 0

    def judge(self, at: float, *, moved: int, rested: float = 0.0) -> str:
        """Say why the request is given up; "" to go on.

        Args:
            at: Seconds, now.
            moved: Bytes that arrived at either side so far.
            rested: Seconds of its time that this side rested so far (rule 3).
        """
        pace, spent = self._pace, at - rested
        if spent - self._begun >= self._longest:
            return f"not done after {spent - self._begun:.0f} s ({moved} bytes moved)"
        if spent - self._since < pace.stall_seconds:
            return ""
        fresh, wanted = moved - self._moved_before, pace.stall_seconds * pace.least_bytes_per_second
        if fresh < wanted:
            return f"{fresh} bytes moved in {spent - self._since:.0f} s: at least {wanted:.0f} were expected"
        self._since, self._moved_before = spent, moved
        return ""
