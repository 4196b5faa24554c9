"""The state of the loop for everyone who looks: computed once, however many pages are open (console.kept)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import Request

from console.kept import Kept
from data.catalog import Catalog
from data.field_measures import field_measures
from data.kept import KeptWhileSame
from data.loop_status import loop_statuses
from data.policy import OutcomePolicy
from edge_client.contract.errors import AndonError

REFRESH_SECONDS = 2.0
SOON_SECONDS = 2.0  # a page waits so long for the first statuses, and then comes without them
_TICK_SECONDS = 0.5  # how soon a closed page and a stopping server are noticed
# what the field's figures follow from: while none of it changes they stay as they are
_FIELD_RESTS_ON = (
    *("windows", "missing", "outcomes", "drawn", "waiting"),
    *("labelled", "labels_by_class", "last_label_at", "cannot_tell", "disagreements"),
)


class LiveStatus:
    """Statuses of all inspections, about `refresh` seconds old; older where they take long.

    Args:
        catalog: Where they come from.
        refresh: How long one is good enough.
        monotonic: Seconds of a clock that never jumps.
        outcomes: Gives the policy by which outcomes count as truth.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        refresh: float = REFRESH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        outcomes: Callable[[], OutcomePolicy] = OutcomePolicy,
    ) -> None:
        self._catalog, self._outcomes = catalog, outcomes
        self._fields: KeptWhileSame[dict[str, Any]] = KeptWhileSame()
        self._kept = Kept(self._made, fresh=refresh, monotonic=monotonic)
        self.stopping: Callable[[], bool] = lambda: False  # set by whoever runs the server: live views then end

    def now(self) -> list[dict[str, Any]]:
        """Return the statuses as JSON values, each with the MLflow version of every engine that is known."""
        return self._kept.get()

    def soon(self) -> list[dict[str, Any]] | None:
        """The same; None while the first are computed, which takes a while where a catalog is large."""
        return self._kept.soon(SOON_SECONDS)

    def warm(self) -> None:
        """Begin to compute them, before somebody asks."""
        self._kept.begin()

    def _made(self) -> list[dict[str, Any]]:
        policy = self._outcomes()
        found = [_with_versions(status.to_dict()) for status in loop_statuses(self._catalog)]
        return [{**status, "field": self._field(status, policy)} for status in found]

    def _field(self, status: dict[str, Any], policy: OutcomePolicy) -> dict[str, Any]:
        """The field's figures of an inspection, estimated anew only when something they rest on has changed."""
        name, rests_on = status["inspection"], (policy, [status[key] for key in _FIELD_RESTS_ON])
        return self._fields.get(name, rests_on, lambda: field_measures(self._catalog, name, outcomes=policy).to_dict())

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
