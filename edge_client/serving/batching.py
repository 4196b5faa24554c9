"""Frames that arrive together run together: only where it was measured to be faster, since on most processors without
an accelerator it is not.

1. Calls are gathered when they may share one run: same frame size, same context, same wish about capture.
2. The first of a group waits `max_wait_seconds` for others, no longer than until the group is full; while it waits for
   a runner after that, others may still join.
3. At most `runners` groups run at once.
4. When a run fails, each of its frames runs alone: one bad frame costs only itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import BadEngine
from edge_client.prediction import Prediction

Key = tuple[Any, ...]


class Batching:
    """Gathers calls; `predict` has the signature of `Client.predict`.

    Args:
        predict: `Client.predict`.
        max_batch: Most frames of a run.
        max_wait_seconds: How long a frame waits for company.
        runners: Runs at once.
    """

    def __init__(self, predict: Callable[..., Any], *, max_batch: int, max_wait_seconds: float, runners: int) -> None:
        self._predict = predict
        self._max_batch = max_batch
        self._max_wait = max_wait_seconds
        self._lock = threading.Lock()
        self._runners = threading.Semaphore(runners)
        self._open: dict[Key, _Group] = {}

    def predict(
        self,
        frame: NDArray[np.uint8] | bytes,
        *,
        part_id: Any = None,
        context: Mapping[str, Any] | None = None,
        capture: bool = True,
    ) -> Any:
        """Inspect a frame, with others that are there; batches and encoded images run by themselves."""
        if isinstance(frame, bytes) or frame.ndim != 3:
            with self._runners:
                return self._predict(frame, part_id=part_id, context=context, capture=capture)
        key = (frame.shape, tuple(sorted((context or {}).items())), capture)
        with self._lock:
            group = self._open.get(key)
            leads = group is None
            if group is None:
                group = self._open[key] = _Group()
            place = group.join(frame, part_id)
            if len(group.frames) >= self._max_batch:
                self._close(key, group)
        if leads:
            self._lead(key, group, context, capture)
        else:
            group.done.wait()
        return group.answer(place, lambda: self._alone(frame, part_id, context, capture))

    def _lead(self, key: Key, group: _Group, context: Mapping[str, Any] | None, capture: bool) -> None:
        try:
            group.full.wait(self._max_wait)
            with self._runners:
                with self._lock:
                    self._close(key, group)
                if len(group.frames) == 1:
                    group.answers = [
                        self._predict(group.frames[0], part_id=group.parts[0], context=context, capture=capture)
                    ]
                else:
                    group.answers = self._predict(
                        np.stack(group.frames), part_id=group.parts, context=context, capture=capture
                    )
        except Exception as error:  # noqa: BLE001 -- it is raised in each of the group's threads
            group.error = error
        finally:
            with self._lock:
                self._close(key, group)
            group.done.set()

    def _close(self, key: Key, group: _Group) -> None:
        """Let nobody join any more. Call with the lock held."""
        if self._open.get(key) is group:
            del self._open[key]
        group.full.set()

    def _alone(
        self, frame: NDArray[np.uint8], part_id: Any, context: Mapping[str, Any] | None, capture: bool
    ) -> Prediction:
        with self._runners:
            answer: Prediction = self._predict(frame, part_id=part_id, context=context, capture=capture)
            return answer


class _Group:
    """Frames that run together."""

    def __init__(self) -> None:
        self.frames: list[NDArray[np.uint8]] = []
        self.parts: list[Any] = []
        self.full = threading.Event()
        self.done = threading.Event()
        self.answers: list[Prediction] = []
        self.error: Exception | None = None

    def join(self, frame: NDArray[np.uint8], part_id: Any) -> int:
        """Add a frame and return its place."""
        self.frames.append(frame)
        self.parts.append(part_id)
        return len(self.frames) - 1

    def answer(self, place: int, alone: Callable[[], Prediction]) -> Prediction:
        """Return the answer of one place."""
        if self.error is None:
            return self.answers[place]
        if isinstance(self.error, BadEngine) and len(self.frames) > 1:
            return alone()
        raise self.error
