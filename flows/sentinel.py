"""The sentinel: sees within seconds that something happened, and starts the flow that answers it.

1. It reads two cheap things: aliases and tags of each registered model (one call), and the count of label events.
2. It keeps no state that matters. Killed and started anew it sees the same and asks for the same runs, whose
   idempotency keys are the same: nothing is started twice.
3. A run that ended and left the wish as it was (it crashed, was cancelled, found the work taken, or failed) is asked
   for again under the next attempt's key, later each time; after three failures not any more. While a run of the
   flow is under way, nothing is asked for.
4. A server that is away makes it wait, longer each time, up to a minute. It never ends by itself.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Protocol

from data.inspections import list_inspections
from data.rollouts.stored import unsigned
from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from flows.drift import labels_that_start_a_retrain
from flows.label_count import count_label_events
from flows.registry_api import RegistryApi
from flows.retrain_settings import may_start_by_itself
from flows.wanted import releases_wanted, retrain_wanted

_log = logging.getLogger("andon.sentinel")
POLL_SECONDS = 2.0
MOST_SECONDS = 60.0
MOST_FAILURES = 3
MOST_ATTEMPTS = 50  # at ten minutes each this is a working day of crashes
FIRST_RETRY = timedelta(seconds=15)
LATEST_RETRY = timedelta(minutes=10)


class Ended(Enum):
    """How a run stands."""

    NOT_YET = "not yet"  # scheduled, pending or running
    WELL = "well"
    FAILED = "failed"  # it raised
    INTERRUPTED = "interrupted"  # crashed or cancelled: it never came to an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A flow run as the sentinel sees it."""

    id: str
    ended: Ended
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A flow run that should exist.

    Attributes:
        flow: Name of the flow.
        parameters: Of the run.
        key: Says what happened: equal for the same event, different for the next one.
        why: For people.
    """

    flow: str
    parameters: Mapping[str, Any]
    key: str
    why: str


class Runs(Protocol):
    """Prefect, as far as the sentinel needs it; :class:`flows.prefect_runs.PrefectRuns` is the real one."""

    def under_way(self, flow: str) -> bool:
        """Whether a run of the flow's deployment is pending or running."""

    def ask_for(self, wish: Wish, key: str) -> Run:
        """Return the run with that idempotency key, created now if there is none."""


class Sentinel:
    """Polls one workspace."""

    def __init__(
        self,
        workspace: Workspace,
        runs: Runs,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Read nothing yet; `runs` starts flow runs."""
        self._workspace = workspace
        self._runs = runs
        self._clock = clock
        self._poll_seconds = poll_seconds

    def run(self, stop: threading.Event) -> None:
        """Poll until `stop` is set."""
        wait = self._poll_seconds
        while not stop.wait(wait):
            try:
                self.poll()
                wait = self._poll_seconds
            except Exception as error:  # noqa: BLE001 -- a worker's boundary: record, back off, go on
                wait = min(MOST_SECONDS, wait * 2)
                _log.warning("cannot look now, next try in %.0f s: %s", wait, error)

    def poll(self) -> list[Run]:
        """Look once and ask for what is wanted.

        Raises:
            AndonError: A server is away.
        """
        return [run for wish in self.wishes() if (run := self._ask(wish)) is not None]

    def wishes(self) -> Iterator[Wish]:
        """What should be running, from what is seen now."""
        workspace = self._workspace
        if not workspace.mlflow_url:
            raise AndonError(f"{workspace.home}: its stack has no MLflow server; run `andon up`")
        api = RegistryApi(workspace.mlflow_url)
        catalog, policy = workspace.catalog(), workspace.policy()
        for inspection in list_inspections(catalog):
            name = inspection.name
            model = api.model(name)
            wanted = releases_wanted(model) if model else {}
            if wanted and model:
                carried = {k: v for k, v in sorted(model.tags.items()) if k.startswith("andon.channel.")}
                yield Wish(
                    flow="release",
                    parameters={"inspection": name},
                    # the channels' times make "back to B" after "B, then A" another event than the first "B"
                    key=f"release {name} {sorted(wanted.items())} after {sorted(carried.items())}",
                    why=", ".join(f"{channel} should carry version {number}" for channel, number in wanted.items()),
                )
            pending = unsigned(catalog, name)
            if pending:
                yield Wish(
                    flow="release",
                    parameters={"inspection": name},
                    key=f"rollout {name} {sorted(pending.items())}",
                    why=f"the rollout to {', '.join(sorted(pending))} was changed",
                )
            events = count_label_events(catalog, name)
            needed = labels_that_start_a_retrain(catalog, name, policy)
            if may_start_by_itself(inspection) and retrain_wanted(events, model, needed):
                yield Wish(
                    flow="retrain",
                    parameters={"inspection": name},
                    key=f"retrain {name} at {events} label events",
                    why=f"{events} label events",
                )

    def _ask(self, wish: Wish) -> Run | None:
        """Rule 3."""
        if self._runs.under_way(wish.flow):
            return None
        failures = 0
        for attempt in range(MOST_ATTEMPTS):
            run = self._runs.ask_for(wish, f"{wish.key} #{attempt}")
            if run.ended is Ended.NOT_YET:
                return run
            failures += run.ended is Ended.FAILED
            if failures >= MOST_FAILURES:
                return None  # it will be asked for anew when something else happens
            now = self._clock()
            if now - (run.ended_at or now) < min(LATEST_RETRY, FIRST_RETRY * 2 ** min(attempt, 10)):
                return None
        return None
