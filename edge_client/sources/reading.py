"""Reads a source ahead on a thread, into a bounded queue.

1. A live source never waits: when the queue is full its oldest frame is dropped and counted. The application always
   gets the newest that is left.
2. Any other source waits for the application; nothing is dropped.
3. An error of the source reaches the application with its next frame, after those that were read before it.
4. read = delivered + dropped + queued, at every moment.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any

from edge_client.sources.frame import PartOf, SourceFrame


class Frames:
    """The frames of an opened source: iterate over it, or call `next_frame`. Use it as a context manager.

    Args:
        kind: ``folder``, ``video``, ``camera`` or ``stdin``.
        frames: The source itself; consumed on this reader's thread.
        part_of: Tells whose a frame is.
        live: Rule 1 instead of rule 2.
        queue_frames: Most frames that wait.
        stop: Set when the reader should end; the source may watch it too.
        details: More for `status`, such as how often a camera was opened again.
    """

    def __init__(
        self,
        kind: str,
        frames: Iterable[SourceFrame],
        *,
        part_of: PartOf,
        live: bool,
        queue_frames: int = 2,
        stop: threading.Event | None = None,
        details: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.kind = kind
        self.live = live
        self._frames = frames
        self._part_of = part_of
        self._most = max(1, queue_frames)
        self._details = details
        self._queue: deque[SourceFrame] = deque()
        self._changed = threading.Condition()
        self._stop = stop or threading.Event()
        self._ended = False
        self._error: Exception | None = None
        self.read = 0
        self.dropped = 0
        self._thread = threading.Thread(target=self._work, name="andon-source", daemon=True)

    @property
    def ended(self) -> bool:
        """Whether the source gives no more, and nothing waits."""
        with self._changed:
            return self._ended and not self._queue

    def next_frame(self, timeout: float | None = None) -> SourceFrame | None:
        """Return the next frame; None when none came in time, or the source has `ended`.

        Raises:
            AndonError: What the source raised.
            OSError: Likewise.
        """
        self._start()
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ended, timeout)
            if self._queue:
                frame = self._queue.popleft()
                self._changed.notify_all()
                return frame
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            return None

    def __iter__(self) -> Iterator[SourceFrame]:
        while not self.ended:
            if (frame := self.next_frame()) is not None:
                yield frame

    def status(self) -> dict[str, Any]:
        """Return counts and what is wrong, as plain JSON values."""
        with self._changed:
            told = {"kind": self.kind, "live": self.live, "read": self.read, "dropped": self.dropped}
            told["queued"] = len(self._queue)
        return {**told, **self._details()}

    def close(self) -> None:
        """End the reader. One that hangs in the source's own read is left behind: it ends with the process."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def __enter__(self) -> "Frames":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        if self._thread.ident is None and not self._stop.is_set():
            self._thread.start()

    def _work(self) -> None:
        frames = iter(self._frames)
        try:
            for frame in frames:
                if self._stop.is_set():
                    break
                self._put(frame.of(self._part_of(frame)))
        except Exception as error:  # noqa: BLE001 -- rule 3
            self._error = error
        finally:
            if isinstance(frames, Generator):
                frames.close()  # lets the camera or the file go
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, frame: SourceFrame) -> None:
        with self._changed:
            if self.live:
                while len(self._queue) >= self._most:
                    self._queue.popleft()
                    self.dropped += 1
            else:
                self._changed.wait_for(lambda: len(self._queue) < self._most or self._stop.is_set())
                if self._stop.is_set():
                    return
            self.read += 1
            self._queue.append(frame)
            self._changed.notify_all()
