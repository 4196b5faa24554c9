"""The slot an application's requests go through, so that the engine behind it can be exchanged while they run.

1. A request takes the engine that is current when it begins and keeps it to its end.
2. `swap` changes which engine the next requests get; it waits for nobody and nobody waits for it.
3. An engine that was swapped out is let go when its last request has ended; `drained` tells when.
"""

from __future__ import annotations

import threading
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_client.engine import Engine, EngineOutput


class EngineSlot:
    """Holds the current engine.

    Args:
        engine: The first engine; a slot is never empty.
        frame_size: Height and width of frames to come, where known.

    Attributes:
        frame_size: Height and width of the last frames that were asked about.
    """

    def __init__(self, engine: Engine, frame_size: tuple[int, int] | None = None) -> None:
        self.frame_size = frame_size
        self._lock = threading.Lock()
        self._occupant = _Occupant(engine)
        self._swaps = 0

    @property
    def engine(self) -> Engine:
        """The engine that the next request gets."""
        return self._occupant.engine

    @property
    def swaps(self) -> int:
        """How often the engine was exchanged."""
        return self._swaps

    def lease(self) -> Lease:
        """Give the current engine for one request: ``with slot.lease() as engine``.

        Decide and describe the answer with the engine that is given, not with `engine`: it may have changed meanwhile.
        """
        return Lease(self)

    def run(self, frames: NDArray[np.uint8]) -> tuple[EngineOutput, Engine]:
        """Answer a batch and say which engine did."""
        with self.lease() as engine:
            return engine.run(frames), engine

    def swap(self, engine: Engine) -> threading.Event:
        """Make `engine` the current one.

        Returns:
            An event that is set when the last request on the old engine has ended.
        """
        incoming = _Occupant(engine)
        with self._lock:
            old, self._occupant = self._occupant, incoming
            self._swaps += 1
            old.retired = True
            if old.requests == 0:
                old.drained.set()
        return old.drained


class _Occupant:
    """An engine and how many requests are on it."""

    __slots__ = ("drained", "engine", "requests", "retired")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.requests = 0
        self.retired = False
        self.drained = threading.Event()


class Lease:
    """One request's hold on an engine. A plain class: a generator's context manager costs three times as much."""

    __slots__ = ("_occupant", "_slot")

    def __init__(self, slot: EngineSlot) -> None:
        self._slot = slot

    def __enter__(self) -> Engine:
        with self._slot._lock:
            occupant = self._occupant = self._slot._occupant
            occupant.requests += 1
        return occupant.engine

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        occupant = self._occupant
        with self._slot._lock:
            occupant.requests -= 1
            if occupant.retired and occupant.requests == 0:
                occupant.drained.set()
