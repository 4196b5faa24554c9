"""At most so many frames a second."""

import threading
import time
from collections.abc import Callable

_SLICE_SECONDS = 1.0  # of a long wait, so that others hear in between that the line is alive


class Pace:
    """Waits so that turns come no faster than asked.

    Args:
        stop: Ends a wait early.
        alive: Called at least every second of a wait.
    """

    def __init__(self, stop: threading.Event, alive: Callable[[], None]) -> None:
        self._stop = stop
        self._alive = alive
        self._next_at = time.monotonic()

    def wait(self, fps: float) -> None:
        """Wait for the next turn at `fps` frames a second; 0 is no limit."""
        now = time.monotonic()
        if fps <= 0:
            self._next_at = now
            return
        while (left := self._next_at - time.monotonic()) > 0 and not self._stop.wait(min(left, _SLICE_SECONDS)):
            self._alive()
        self._next_at = max(self._next_at + 1.0 / fps, now)
