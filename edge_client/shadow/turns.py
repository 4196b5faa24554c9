"""The line and the challenger take turns: the challenger computes between two frames of the line, never during one.

Even a process that gets the processor only when nobody else wants it slows down the frame that it runs beside: the
line's other threads then share one core, and caches and memory are one. Those frames are the tail of the latency.

1. The line never waits: it says that a frame begins and ends, and on the way stops and continues a process. It wakes
   no thread: that takes a tenth of a millisecond of a frame where the other core is idle. Who waits looks.
2. The challenger begins when a frame of the line has just ended, or where the shortest of the last gaps has room for
   the longest of its last turns. If a gap is too short it is stopped, and goes on in the next one.
3. It computes on another core than the line's last frame, whose caches it would empty.
4. A line that leaves no gap is not left without a shadow: what has waited, or has been held up, for `PATIENCE_SECONDS`
   is computed beside the line. So of a line without gaps one frame or two in `PATIENCE_SECONDS` is touched.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from edge_client.shadow.cores import current_core

PATIENCE_SECONDS = 5.0
_FRESH_SECONDS = 0.002  # a gap that began so lately still lies ahead
_PAUSED_SECONDS = 0.5  # a line that has not come for so long is not awaited
_LOOK_SECONDS = 0.001  # with a frame that waits for its turn
_REST_SECONDS = 0.005  # with none
_AWAY_SECONDS = 0.05  # and no line
_REMEMBERED = 8  # gaps and turns


class Turns:
    """Who may compute. The line enters and leaves it as a context, from as many threads as it has.

    Args:
        hold: Stops the challenger where it stands; returns at once.
        let_go: Lets it go on.
        clock: Monotonic seconds.
        sleep: Passes seconds.
    """

    def __init__(
        self,
        *,
        hold: Callable[[], None],
        let_go: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._hold, self._let_go, self._clock, self._sleep = hold, let_go, clock, sleep
        self._inspecting: set[int] = set()  # threads of the line; adding and discarding need no lock
        self._ended_at = -math.inf
        self.core = -1  # where the line's last frame was inspected
        self._began_at: float | None = None  # the challenger computes since then
        self._gaps: deque[float] = deque(maxlen=_REMEMBERED)
        self._turns: deque[float] = deque(maxlen=_REMEMBERED)

    def __enter__(self) -> None:
        if not self._inspecting and self._ended_at > -math.inf:  # not the first frame
            self._gaps.append(self._clock() - self._ended_at)
        self._inspecting.add(threading.get_ident())
        began_at = self._began_at  # none: it rests, or its patience has ended
        if began_at is not None and self._clock() - began_at < PATIENCE_SECONDS:
            self._hold()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inspecting.discard(threading.get_ident())
        if self._inspecting:
            return
        self._ended_at = self._clock()
        self.core = current_core()
        if self._began_at is not None:
            self._let_go()

    def begin(self, stopped: Callable[[], bool]) -> bool:
        """Wait until the challenger may compute; False when `stopped` ended the wait. `end` must follow."""
        since = self._clock()
        while not stopped():
            now = self._clock()
            if self._may_begin(now) or now - since >= PATIENCE_SECONDS:
                self._let_go()  # a frame that began as the last turn ended may have stopped it
                return True
            self._sleep(_LOOK_SECONDS)
        return False

    @property
    def look_seconds(self) -> float:
        """How long who has nothing to do may sleep: short while the line runs, so that a frame is not late."""
        return _REST_SECONDS if self._clock() - self._ended_at < _PAUSED_SECONDS else _AWAY_SECONDS

    @property
    def computing(self) -> bool:
        """Whether the challenger has the turn."""
        return self._began_at is not None

    def end(self) -> None:
        """The challenger has computed."""
        if self._began_at is not None:
            self._turns.append(self._clock() - self._began_at)
            self._began_at = None

    def _may_begin(self, now: float) -> bool:
        """Whether a gap has just begun or has room, or the line is away; a frame that begins from now on holds it."""
        if self._inspecting or not self._has_room(now - self._ended_at):
            return False
        self._began_at = now
        if not self._inspecting:
            return True
        self._began_at = None  # a frame began meanwhile, and may not have seen it
        return False

    def _has_room(self, since: float) -> bool:
        """Whether the challenger may begin so many seconds after a frame of the line."""
        if since < _FRESH_SECONDS or since >= _PAUSED_SECONDS:
            return True
        return since + max(self._turns, default=_PAUSED_SECONDS) < min(self._gaps, default=0.0)
