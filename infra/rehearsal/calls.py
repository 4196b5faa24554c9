"""Asking for flow runs at the real Prefect server, and seeing them through; releases come by themselves and are waited
for.

1. A run that crashed, was cancelled (another run of the flow was under way) or failed is asked for again, up to a
   deadline: every flow is safe to run twice.
2. A server that does not answer is waited for: its supervisor starts it again.
3. A run whose process was killed is ended by the serving process when that starts again: it is seen as crashed then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import uuid4

from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from flows import environment
from flows.prefect_runs import PrefectRuns
from flows.registry_api import RegisteredModel, RegistryApi
from flows.sentinel import Ended, Run, Wish
from flows.wanted import releases_wanted

POLL_SECONDS = 1.0
DEADLINE_SECONDS = 900.0
RELEASE_SECONDS = 240.0
_T = TypeVar("_T")


class FlowFailed(AndonError):
    """A flow did not complete by its deadline; the message says what its runs came to."""


class FlowCalls:
    """Runs flows of one workspace by their deployments.

    Args:
        workspace: Whose Prefect server.
        say: Told about every second attempt.
        tick: Called while waiting, so that the caller can look after its devices.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        say: Callable[[str], None],
        tick: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        environment.point_at(workspace)
        self.runs = PrefectRuns()
        self._registry = RegistryApi(workspace.mlflow_url or "")
        self._say, self._tick, self._sleep, self._now = say, tick, sleep, now

    def run(self, flow: str, parameters: Mapping[str, Any], *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        """Run a flow to its end.

        Raises:
            FlowFailed: It did not complete by the deadline.
        """
        wish = Wish(flow=flow, parameters=parameters, key=f"rehearsal {uuid4().hex}", why="rehearsal")
        end = self._now() + deadline_seconds
        attempt, wait, came_to = 0, 1.0, "nothing yet"
        while self._now() < end:
            self._await_turn(flow, end)
            run = self._see_through(wish, f"{wish.key} #{attempt}", end)
            if run is not None and run.ended is Ended.WELL:
                return
            came_to = "no answer" if run is None else run.ended.value
            attempt += 1
            if attempt > 1:
                self._say(f"{flow}: {came_to}; asking again")
            self._pause(min(wait, max(0.0, end - self._now())))
            wait = min(10.0, wait * 2)
        raise FlowFailed(
            f"flow {flow} with {dict(parameters)} did not complete in {deadline_seconds:.0f} s ({attempt} attempts, "
            f"the last: {came_to}); look at its runs in Prefect's UI"
        )

    def await_release(self, inspection: str) -> RegisteredModel:
        """Wait until the signed channels carry what the aliases name: the moved alias itself starts the release.

        Returns:
            The model as it stands then.

        Raises:
            FlowFailed: They did not by the deadline.
        """

        def released() -> RegisteredModel | None:
            model = self._registry.model(inspection)
            return None if model is None or releases_wanted(model) else model

        model = self._until(released, self._now() + RELEASE_SECONDS)
        if model is not None:
            return model
        raise FlowFailed(
            f"{inspection}: no signed release of what its aliases name within {RELEASE_SECONDS:.0f} s; look at the "
            "runs of the flow release in Prefect's UI"
        )

    def _await_turn(self, flow: str, until: float) -> None:
        """Wait until no run of the flow is under way: a second one would be cancelled."""
        self._until(lambda: not self.runs.under_way(flow) or None, until)

    def _until(self, look: Callable[[], _T | None], end: float) -> _T | None:
        """Look until something is there; None when nothing is by `end`. A server that is away is waited for."""
        while self._now() < end:
            try:
                if (found := look()) is not None:
                    return found
            except AndonError:
                pass  # its supervisor starts it again
            self._pause(POLL_SECONDS)
        return None

    def _see_through(self, wish: Wish, key: str, until: float) -> Run | None:
        """Ask for a run and wait until it ends; None when nothing is known of it by then."""
        run: Run | None = None
        while self._now() < until:
            try:
                run = self.runs.ask_for(wish, key)  # the same key: the same run, as it stands now
            except AndonError:
                self._pause(2.0)  # the server is away: its supervisor starts it again
                continue
            if run.ended is not Ended.NOT_YET:
                return run
            self._pause(POLL_SECONDS)
        return run

    def _pause(self, seconds: float) -> None:
        self._tick()
        self._sleep(seconds)
