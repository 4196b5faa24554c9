"""A value that takes long to make, for everyone who looks at it.

1. It is made by one thread at a time, however many ask. The first who ask wait for it.
2. Later it is made anew when it is older than `fresh`, but never more than a tenth of the time: what takes five seconds
   to make is at least fifty seconds old before it is made again. So a large catalog does not keep a core busy.
3. Who asks while it is made anew waits `patience` seconds for it and then gets it as it last was: a page is never slow
   because its figures are.
4. If making it fails, those who wait are told; the next who asks tries again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Generic, TypeVar, cast

PATIENCE_SECONDS = 0.1
_REST = 10.0  # rule 2

T = TypeVar("T")


class Kept(Generic[T]):
    """Keeps one value.

    Args:
        make: Makes it.
        fresh: Seconds for which it is good enough.
        patience: Rule 3.
        monotonic: Seconds of a clock that never jumps.
    """

    def __init__(
        self,
        make: Callable[[], T],
        *,
        fresh: float,
        patience: float = PATIENCE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._fresh, self._patience, self._monotonic = make, fresh, patience, monotonic
        self._lock = threading.Lock()
        self._running: Future[T] | None = None
        self._known: Future[T] | None = None
        self._due = -float("inf")

    def get(self) -> T:
        """The value; see the rules.

        Raises:
            Exception: What making it raised, where there is none yet or while somebody waits.
        """
        return cast("T", self.soon(None))

    def soon(self, patience: float | None) -> T | None:
        """The same; None where there is none within `patience` seconds: it is being made meanwhile.

        Raises:
            Exception: As above.
        """
        running, known = self.begin()
        if running is None:
            assert known is not None
            return known.result()
        try:
            return running.result(patience if known is None else self._patience)
        except NotYet:
            if running.done():
                raise
            return None if known is None else known.result()

    def begin(self) -> tuple[Future[T] | None, Future[T] | None]:
        """See that it is made if it is due: what is being made, and what is known."""
        with self._lock:
            if self._running is None and self._monotonic() >= self._due:
                self._running = Future()
                threading.Thread(target=self._run, args=(self._running,), daemon=True).start()
            return self._running, self._known

    def _run(self, future: Future[T]) -> None:
        began, clock = self._monotonic(), time.monotonic()
        try:
            value, error = self._make(), None
        except BaseException as raised:  # noqa: BLE001 - given to those who wait
            error = raised
        took = time.monotonic() - clock
        with self._lock:
            self._running = None
            if error is None:
                self._known, self._due = future, began + max(self._fresh, took * (_REST + 1))
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
