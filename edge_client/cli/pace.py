"""At most so many frames a second."""

import threading
import time


class Pace:
    """Waits so that turns come no faster than asked.

    Args:
        stop: Ends a wait early.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._next_at = time.monotonic()

    def wait(self, fps: float) -> None:
        """Wait for the next turn at `fps` frames a second; 0 is no limit."""
        now = time.monotonic()
        if fps <= 0:
            self._next_at = now
            return
        if self._next_at > now:
            self._stop.wait(self._next_at - now)
        self._next_at = max(self._next_at + 1.0 / fps, now)
