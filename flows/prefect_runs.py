"""Flow runs at a Prefect server: what the sentinel and the serving process ask of it."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from edge_client.contract.errors import AndonError
from flows.sentinel import Ended, Run, Wish

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

DEPLOYMENT = "andon"  # name of every flow's deployment: "ingest/andon", …


class PrefectUnavailable(AndonError):
    """The Prefect server cannot be reached or refuses; try again later."""


class PrefectRuns:
    """The runs of this installation's deployments.

    The server is the one that ``PREFECT_API_URL`` names at the time of each call: Prefect itself reads the variable
    once, when it is imported.
    """

    def __init__(self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Connect to nothing yet."""
        self._clock = clock

    def reachable(self) -> bool:
        """Return whether the server answers."""
        try:
            with connected() as client:
                client.request("GET", "/health")
        except PrefectUnavailable:
            return False
        return True

    def under_way(self, flow: str) -> bool:
        """Return whether a run of the flow's deployment is pending or running."""
        return bool(self._runs(flow, ("PENDING", "RUNNING", "CANCELLING")))

    def running(self, flow: str) -> bool:
        """Return whether a run of the flow's deployment is at work."""
        return bool(self._runs(flow, ("RUNNING",)))

    def ask_for(self, wish: Wish, key: str) -> Run:
        """Return the run with that idempotency key, created now if there is none."""
        with connected() as client:
            deployment = client.read_deployment_by_name(f"{wish.flow}/{DEPLOYMENT}")
            run = client.create_flow_run_from_deployment(
                deployment.id,
                parameters=dict(wish.parameters),
                idempotency_key=hashlib.sha256(key.encode()).hexdigest(),
                tags=["sentinel", wish.why[:100]],
            )
            return _seen(run)

    def end_orphans(self, flow: str) -> int:
        """Mark runs as crashed that an earlier, killed serving process left running; gives their slot back.

        What of them still lives ends harmlessly: every flow is safe to run twice. Returns how many there were.
        """
        from prefect.states import Crashed

        orphans = self._runs(flow, ("PENDING", "RUNNING", "CANCELLING"))
        with connected() as client:
            for run in orphans:
                client.set_flow_run_state(
                    run.id,
                    Crashed(message="the serving process was started anew; this run was its predecessor's"),
                    force=True,
                )
        return len(orphans)

    def collapse_missed(self, flow: str) -> int:
        """Of the scheduled runs that should have started already, keep the newest. Returns how many were deleted."""
        late = self._runs(flow, ("SCHEDULED",), before=self._clock() - timedelta(seconds=1))
        missed = [run for run in late if run.auto_scheduled][1:]
        with connected() as client:
            for run in missed:
                client.delete_flow_run(run.id)
        return len(missed)

    def _runs(self, flow: str, states: tuple[str, ...], *, before: datetime | None = None) -> "list[FlowRun]":
        """Runs of a flow's deployment in those states, newest first."""
        from prefect.client.schemas import filters
        from prefect.client.schemas.objects import StateType
        from prefect.client.schemas.sorting import FlowRunSort

        wanted = filters.FlowRunFilter(
            state=filters.FlowRunFilterState(
                type=filters.FlowRunFilterStateType(any_=[StateType(state) for state in states])
            ),
            expected_start_time=filters.FlowRunFilterExpectedStartTime.model_validate({"before_": before})
            if before
            else None,
        )
        with connected() as client:
            found = client.read_flow_runs(
                flow_filter=filters.FlowFilter(name=filters.FlowFilterName(any_=[flow])),
                deployment_filter=filters.DeploymentFilter(name=filters.DeploymentFilterName(any_=[DEPLOYMENT])),
                flow_run_filter=wanted,
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            )
        return list(found)


@contextmanager
def connected() -> "Iterator[SyncPrefectClient]":
    """A client whose errors are ours."""
    import httpx
    from prefect.client.base import ServerType
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.exceptions import PrefectException

    url = os.environ.get("PREFECT_API_URL")
    if not url:
        raise PrefectUnavailable("PREFECT_API_URL is not set: no Prefect server is known; run `andon up`")
    try:
        with SyncPrefectClient(
            url,
            auth_string=os.environ.get("PREFECT_API_AUTH_STRING"),
            api_key=os.environ.get("PREFECT_API_KEY"),
            httpx_settings={"timeout": 10.0},
            server_type=ServerType.SERVER,
        ) as client:
            yield client
    except (httpx.HTTPError, PrefectException, RuntimeError, OSError) as error:
        raise PrefectUnavailable(f"the Prefect server does not answer as it should: {error!r}") from error


def _seen(run: "FlowRun") -> Run:
    state = run.state
    if state is None or not state.is_final():
        ended = Ended.NOT_YET
    elif state.is_completed():
        ended = Ended.WELL
    elif state.is_failed():
        ended = Ended.FAILED
    else:
        ended = Ended.INTERRUPTED
    at = state.timestamp if state is not None and ended is not Ended.NOT_YET else None
    return Run(id=str(run.id), ended=ended, ended_at=at)
