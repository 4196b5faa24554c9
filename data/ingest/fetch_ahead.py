"""Getting things from the bucket while what came before is worked on.

One thread, in the order of the jobs, and never more bytes ahead than the bound allows: only the first may be larger.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

_Job = TypeVar("_Job")
_Found = TypeVar("_Found")


class FetchAhead(Generic[_Job, _Found]):
    """Jobs that are done ahead.

    Args:
        pool: Does them; of one thread.
        fetch: Does one.
        jobs: All, with their bytes.
        most_bytes: How many may be under way or wait to be asked for.
    """

    def __init__(
        self, pool: Executor, fetch: Callable[[_Job], _Found], jobs: Iterable[tuple[_Job, int]], *, most_bytes: int
    ) -> None:
        self._pool, self._fetch, self._most_bytes = pool, fetch, most_bytes
        self._waiting = deque(jobs)
        self._ahead: deque[tuple[_Job, int, Future[_Found]]] = deque()

    def result(self, job: _Job) -> _Found:
        """What came of a job, or the error it ended with. Those before it that nobody asked for are dropped."""
        while True:
            self._fill()
            found, _, future = self._ahead.popleft()
            if found is job:
                self._fill()
                return future.result()
            future.cancel()

    def stop(self) -> None:
        """Begin nothing more."""
        self._waiting.clear()
        while self._ahead:
            self._ahead.popleft()[2].cancel()

    def _fill(self) -> None:
        while self._waiting and (
            not self._ahead or sum(size for _, size, _ in self._ahead) + self._waiting[0][1] <= self._most_bytes
        ):
            job, size = self._waiting.popleft()
            self._ahead.append((job, size, self._pool.submit(self._fetch, job)))
