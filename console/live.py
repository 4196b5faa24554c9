"""The state of the loop for everyone who looks: computed once, however many pages are open."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import Request

from data.catalog import Catalog
from data.loop_status import loop_statuses
from edge_client.contract.errors import AndonError

REFRESH_SECONDS = 2.0
_TICK_SECONDS = 0.5  # how soon a closed page and a stopping server are noticed


class LiveStatus:
    """Statuses of all inspections, at most `refresh` seconds old.

    Args:
        catalog: Where they come from.
        refresh: How long one is good enough.
        monotonic: Seconds of a clock that never jumps.
    """

    def __init__(
        self, catalog: Catalog, *, refresh: float = REFRESH_SECONDS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalog, self._refresh, self._monotonic = catalog, refresh, monotonic
        self._lock = threading.Lock()
        self._at = -float("inf")
        self._statuses: list[dict[str, Any]] = []
        self.stopping: Callable[[], bool] = lambda: False  # set by whoever runs the server: live views then end

    def now(self) -> list[dict[str, Any]]:
        """Return the statuses as JSON values, each with the MLflow version of every engine that is known."""
        with self._lock:
            if self._monotonic() - self._at >= self._refresh:
                self._statuses = [_with_versions(status.to_dict()) for status in loop_statuses(self._catalog)]
                self._at = self._monotonic()
            return self._statuses

    async def events(self, request: Request) -> AsyncIterator[str]:
        """Yield server-sent events: the statuses whenever they change, else a sign of life."""
        before, ticks = "", 0
        while not (self.stopping() or await request.is_disconnected()):
            try:
                now = json.dumps(await asyncio.to_thread(self.now))
                if now != before:
                    yield f"data: {now}\n\n"
                    before = now
                elif ticks % 20 == 0:
                    yield ": nothing new\n\n"
            except AndonError as error:
                yield f"event: problem\ndata: {json.dumps(str(error))}\n\n"
            ticks += 1
            await asyncio.sleep(_TICK_SECONDS)


def _with_versions(status: dict[str, Any]) -> dict[str, Any]:
    versions = {d["engine_id"]: d["version"] for d in status["decisions"] if d["engine_id"]}
    return {**status, "versions": versions}
