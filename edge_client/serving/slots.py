"""How many requests run at once, and how many wait, for how long.

1. At most `slots` requests run.
2. Who comes when none is free waits in order of arrival; a slot that becomes free goes to the longest waiting.
3. At most `queue` requests wait: the next is refused at once. One that waited `deadline_seconds` is refused.
4. A refusal says when to come again. Every refusal is counted by its reason.
5. Once closed, nobody waits any more: who waits is refused, who runs ends.

A one-thread ONNX Runtime session may be run by several threads at once and shares its weights, so a slot is a thread
in `run`, not a copy of the engine.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from edge_client.serving.problems import Kind, Refusal


class Slots:
    """Gives out slots.

    Args:
        slots: Most requests that run at once.
        queue: Most requests that wait.
        deadline_seconds: Longest wait.
    """

    def __init__(self, slots: int, *, queue: int, deadline_seconds: float) -> None:
        self._slots = slots
        self._queue = queue
        self._deadline = deadline_seconds
        self._lock = threading.Lock()
        self._running = 0
        self._closed = False
        self._waiting: deque[_Ticket] = deque()
        self._since: dict[int, float] = {}  # thread -> when it got its slot

    @property
    def running(self) -> int:
        """Requests that run."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot.

        Raises:
            Refusal: OVERLOADED, by rules 3 and 5.
        """
        self.take()
        me = threading.get_ident()
        self._since[me] = time.monotonic()
        try:
            yield
        finally:
            del self._since[me]
            self.give()

    def longest(self) -> float:
        """For how many seconds the longest running request has run; 0 for none."""
        now = time.monotonic()
        return max((now - since for since in list(self._since.values())), default=0.0)

    def take(self) -> None:
        """Wait for a slot; each must be given back with `give`.

        Raises:
            Refusal: As `slot`.
        """
        with self._lock:
            if self._closed:
                raise _ending()
            if self._running < self._slots:
                self._running += 1
                return
            if len(self._waiting) >= self._queue:
                raise Refusal(
                    Kind.OVERLOADED,
                    f"{self._running} requests run and {len(self._waiting)} wait, the most that may: come again later, "
                    "or to another server",
                    reason="queue_full",
                )
            ticket = _Ticket()
            self._waiting.append(ticket)
        if ticket.called.acquire(timeout=self._deadline):
            if ticket.refused:
                raise _ending()
            return
        with self._lock:
            if ticket not in self._waiting:  # called, or refused, in the last moment
                if ticket.refused:
                    raise _ending()
                return
            self._waiting.remove(ticket)
        raise Refusal(
            Kind.OVERLOADED,
            f"no slot became free in {self._deadline:g} s: come again later, or to another server",
            reason="deadline",
        )

    def give(self) -> None:
        """Give a slot back: to the longest waiting, if any."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().called.release()
            else:
                self._running -= 1

    def close(self) -> None:
        """Refuse who waits and who comes."""
        with self._lock:
            self._closed = True
            while self._waiting:
                ticket = self._waiting.popleft()
                ticket.refused = True
                ticket.called.release()


class _Ticket:
    """Someone's place in the queue. A plain lock is the cheapest thing a thread can wait for."""

    __slots__ = ("called", "refused")

    def __init__(self) -> None:
        self.called = threading.Lock()
        self.called.acquire()
        self.refused = False


def _ending() -> Refusal:
    return Refusal(Kind.OVERLOADED, "this server is ending: go to another, or come again", reason="ending")
