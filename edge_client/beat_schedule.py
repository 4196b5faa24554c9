"""When a heartbeat is sent. No I/O.

1. At the latest an interval after the last one, less a tenth by chance: a fleet that was switched on at once does not
   go on in step.
2. A change of substance is told at once. Each such heartbeat takes one of `BURST` turns, and one turn comes back each
   interval: a device whose health flickers says so some times, then waits for its interval like any other.
3. After a failure the pause is that of the backoff, whatever changes meanwhile. What was to be told of a change takes
   its turn when it is through.

So a day has at most ``86,400 / (0.9 interval) + 86,400 / interval + BURST`` heartbeats, whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_client.uplink.backoff import backoff_seconds

BURST = 12  # an update goes through about five changes: trial, probation, confirmed, and health with them


class BeatSchedule:
    """Says whether a heartbeat is due.

    Args:
        interval: Most seconds between two.
        jitter: Uniform in [0, 1).
    """

    def __init__(self, interval: float, jitter: Callable[[], float]) -> None:
        self._interval = interval
        self._jitter = jitter
        self._due: float | None = None  # at once
        self._turns = float(BURST)
        self._counted_at: float | None = None
        self._failures = 0
        self._for_a_change = False  # what is to be sent is before its time

    def is_due(self, at: float, changed: Callable[[], bool]) -> bool:
        """Whether to send now.

        Args:
            at: Now, in monotonic seconds.
            changed: Whether what was told last still holds; asked only if that matters.
        """
        self._count_turns(at)
        if self._due is None or at >= self._due:
            return True
        self._for_a_change = not self._failures and self._turns >= 1 and changed()
        return self._for_a_change

    def sent(self, at: float) -> None:
        """One was sent."""
        self._turns -= self._for_a_change
        self._for_a_change, self._failures = False, 0
        self._due = at + self._interval * (0.9 + 0.1 * self._jitter())

    def failed(self, at: float) -> None:
        """One could not be sent."""
        self._failures += 1
        self._due = at + min(backoff_seconds(self._failures, self._jitter), max(self._interval, 1.0))

    def next_at(self) -> float | None:
        """When one is due whatever changes; None for at once."""
        return self._due

    def _count_turns(self, at: float) -> None:
        if self._counted_at is not None:
            self._turns = min(float(BURST), self._turns + max(0.0, at - self._counted_at) / self._interval)
        self._counted_at = at
