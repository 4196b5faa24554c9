"""The serving process against real servers: schedules, the sentinel, and what outages and kills do to it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from flows.registry import Registry
from flows.releases.repository import ReleaseRepository
from tests.integration.flows.challengers import register
from tests.integration.flows.stack import Stack, wait_until


@pytest.fixture(scope="module")
def serving(stack: Stack) -> Iterator[Stack]:
    wait_until(lambda: stack.ready("prefect"), "Prefect")
    stack.start("serving")
    yield stack
    if "serving" in stack.processes:
        stack.kill("serving")


def runs_of(flow: str) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(limit=200)
        names = {f.id: f.name for f in client.read_flows()}
    return [run for run in found if names.get(run.flow_id) == flow]


def completed(flow: str, **wanted: object) -> list[FlowRun]:
    return [
        run
        for run in runs_of(flow)
        if run.state is not None
        and run.state.is_completed()
        and all(getattr(run, key) == value for key, value in wanted.items())
    ]


def test_runs_that_the_schedule_created_are_carried_out(serving: Stack) -> None:
    wait_until(lambda: completed("ingest", auto_scheduled=True), "a scheduled ingest", seconds=110)
    with get_client(sync_client=True) as client:
        found = {f"{d.name}": d for d in client.read_deployments()}
        flows = {f.name for f in client.read_flows()}
    assert {"ingest", "watch", "release", "retrain"} <= flows
    assert list(found) == ["andon"]
    (run, *_) = completed("ingest", auto_scheduled=True)
    assert run.state is not None
    assert run.state.message == "0 windows, 0 samples, 0 bytes"


def test_moving_an_alias_in_mlflow_starts_a_release_within_seconds(
    serving: Stack, registry: Registry, repository: ReleaseRepository, name: str
) -> None:
    register(registry, name, "e1")
    MlflowClient(registry.api.url).set_registered_model_alias(name, "champion", "1")
    moved = time.monotonic()

    wait_until(lambda: repository.read_channel(name, "stable"), "the channel", seconds=60)

    print(f"alias to signed channel: {time.monotonic() - moved:.1f} s")
    (run,) = [r for r in runs_of("release") if r.parameters == {"inspection": name}]
    assert not run.auto_scheduled
    assert "sentinel" in run.tags
