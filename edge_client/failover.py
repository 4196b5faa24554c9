"""Which of several servers gets a request. No I/O; time is an argument.

1. The list's order is the order of preference: a request begins at the first server that is not paused.
2. A server that did not answer (no connection, broken, too slow) is paused: for `first_pause` seconds, doubled with
   each failure in a row up to `longest_pause`. One that says it is overloaded is paused for as long as it asks.
3. One good answer ends a server's pause and forgets its failures.
4. A request tries each server once before it tries one again; paused ones last, the earliest to return first. So it is
   lost only when no server answers.
5. A server may take at most its share of the time that is left: what is left, divided by the servers yet untried.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class _Server:
    failures: int = 0
    paused_until: float = float("-inf")


class Failover:
    """What is known of each server. Not thread-safe: its owner has a lock.

    Args:
        servers: How many there are.
        first_pause: Seconds after the first failure.
        longest_pause: Most seconds.
    """

    def __init__(self, servers: int, *, first_pause: float = 0.5, longest_pause: float = 30.0) -> None:
        self._servers = [_Server() for _ in range(servers)]
        self._first = first_pause
        self._longest = longest_pause

    def order(self, now: float) -> list[int]:
        """Return all servers in the order in which a request that begins now tries them (rules 1 and 4)."""
        paused = [i for i, s in enumerate(self._servers) if s.paused_until > now]
        paused.sort(key=lambda i: self._servers[i].paused_until)
        return [i for i, s in enumerate(self._servers) if s.paused_until <= now] + paused

    def good(self, server: int) -> None:
        """It answered (rule 3)."""
        self._servers[server] = _Server()

    def failed(self, server: int, now: float) -> None:
        """It did not answer (rule 2)."""
        found = self._servers[server]
        pause = min(self._longest, self._first * 2.0 ** min(found.failures, 16))
        found.failures += 1
        found.paused_until = now + pause

    def overloaded(self, server: int, now: float, retry_after: float) -> None:
        """It asks to be left alone (rule 2)."""
        found = self._servers[server]
        found.paused_until = now + min(self._longest, max(0.0, retry_after))

    def next_return(self, now: float) -> float:
        """Return in how many seconds the first paused server returns; 0 when one is not paused."""
        return max(0.0, min(s.paused_until for s in self._servers) - now)


def share_of_time(left_seconds: float, untried: int, *, most: float) -> float:
    """Return how long the next server may take (rule 5).

    Args:
        left_seconds: Until the request's deadline.
        untried: Servers that were not tried, this one included.
        most: Never longer.

    >>> share_of_time(9.0, 3, most=5.0)
    3.0
    """
    return max(0.01, min(most, left_seconds / max(1, untried)))
