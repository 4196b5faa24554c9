"""The serving process against real servers: schedules, the sentinel, and what a kill leaves behind."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Running

from data.workspace import Workspace
from flows.automations import apply
from flows.prefect_runs import PrefectRuns
from flows.registry import Registry
from flows.releases.repository import ReleaseRepository
from flows.sentinel import Sentinel
from flows.serving import FLOWS
from flows.tags import Tag
from tests.integration.flows.challengers import register
from tests.integration.flows.samples import add_labelled_samples
from tests.integration.flows.stack import Stack, wait_until


@pytest.fixture(scope="module")
def serving(stack: Stack) -> Iterator[Stack]:
    wait_until(lambda: stack.ready("prefect"), "Prefect")
    stack.start("serving")
    yield stack
    if "serving" in stack.processes:
        stack.kill("serving")


def prefect_client() -> SyncPrefectClient:
    return SyncPrefectClient(os.environ["PREFECT_API_URL"])


def runs_of(flow: str) -> list[FlowRun]:
    with prefect_client() as client:
        # the earliest first: hundreds are scheduled ahead
        found = client.read_flow_runs(limit=200, sort=FlowRunSort.EXPECTED_START_TIME_ASC)
        names = {f.id: f.name for f in client.read_flows()}
    return [run for run in found if names.get(run.flow_id) == flow]


def completed(flow: str) -> list[FlowRun]:
    return [run for run in runs_of(flow) if run.state is not None and run.state.is_completed()]


def test_runs_that_the_schedule_created_are_carried_out(serving: Stack) -> None:
    wait_until(lambda: completed("ingest"), "a scheduled ingest")
    with prefect_client() as client:
        deployed = {d.name for d in client.read_deployments()}
        flows = {f.name for f in client.read_flows()}
    assert deployed == {"andon"}
    assert set(FLOWS) <= flows
    run = completed("ingest")[0]
    assert run.auto_scheduled
    assert run.state is not None
    assert run.state.message == "0 windows, 0 samples, 0 bytes"


def test_moving_an_alias_in_mlflow_starts_one_release(
    serving: Stack, registry: Registry, repository: ReleaseRepository, name: str
) -> None:
    register(registry, name, "e1")
    MlflowClient(registry.api.url).set_registered_model_alias(name, "champion", "1")

    wait_until(lambda: repository.read_channel(name, "stable"), "the channel")

    (run,) = [r for r in runs_of("release") if r.parameters == {"inspection": name}]
    assert not run.auto_scheduled
    assert "sentinel" in run.tags


def test_enough_new_labels_ask_for_one_retrain(serving: Stack, workspace: Workspace, name: str) -> None:
    add_labelled_samples(workspace, name, 20)
    sentinel = Sentinel(workspace, PrefectRuns())

    (wish,) = [wish for wish in sentinel.wishes() if wish.parameters == {"inspection": name}]
    first, again = (PrefectRuns().ask_for(wish, wish.key) for _ in range(2))

    assert wish.flow == "retrain"
    assert first.id == again.id
    Registry(str(workspace.mlflow_url)).api.ensure_model(name, "labels were seen")
    Registry(str(workspace.mlflow_url)).api.tag_model(name, {Tag.LABEL_EVENTS: "20"})
    assert [wish for wish in sentinel.wishes() if wish.parameters == {"inspection": name}] == []


def test_a_flow_that_fails_is_told_of_once(serving: Stack) -> None:
    wait_until(lambda: "tell" in flows_there(), "the flow tell")
    with Hook() as hook:
        (serving.home / "policy.toml").write_text(f'[notify]\nwebhook_url = "{hook.url}"\n')
        assert set(apply().values()) == {"made"}
        assert set(apply().values()) == {"as it was"}
        run = failed_retrain("no-such-part")

        def about_it() -> list[dict[str, Any]]:
            """Other tests leave notices in the outbox, too."""
            return [notice for notice in hook.got if notice["facts"].get("run") == str(run.id)]

        wait_until(about_it, "a notice")
        wait_until(lambda: completed("tell"), "the end of tell")

        (notice,) = about_it()
        assert (notice["kind"], notice["facts"]) == (
            "flow", {"flow": "retrain", "run": str(run.id), "state": "Failed"}
        )  # fmt: skip
        assert "retrain no-such-part (head)" in notice["text"]
        assert "no-such-part" in notice["text"]
    (serving.home / "policy.toml").unlink()


def failed_retrain(inspection: str) -> FlowRun:
    """A run that failed; one that came beside a run of another test was cancelled, and is asked for again."""
    with prefect_client() as client:
        deployment = client.read_deployment_by_name("retrain/andon")

        def ended() -> FlowRun:
            asked = client.create_flow_run_from_deployment(deployment.id, parameters={"inspection": inspection})
            seen: list[FlowRun] = []

            def final() -> bool:
                seen[:] = [client.read_flow_run(asked.id)]
                return seen[0].state is not None and seen[0].state.is_final()

            wait_until(final, "the end of a retrain")
            return seen[0]

        run = ended()
        while run.state is not None and run.state.is_cancelled():
            run = ended()
    assert run.state is not None
    assert run.state.is_failed()
    return run


def flows_there() -> set[str]:
    with prefect_client() as client:
        return {deployment.entrypoint.rpartition(".")[2] for deployment in client.read_deployments()}


class Hook:
    """An HTTP server that keeps the documents it gets."""

    def __init__(self) -> None:
        got: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

        self.got = got
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self) -> Hook:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_after_a_kill_the_next_process_gives_back_what_its_predecessor_held(serving: Stack) -> None:
    wait_until(lambda: not PrefectRuns().under_way("watch"), "an idle moment")
    serving.kill("serving")
    before = {run.id for run in completed("watch")}
    with prefect_client() as client:
        deployment = client.read_deployment_by_name("watch/andon")
        held = client.create_flow_run_from_deployment(deployment.id)
        client.set_flow_run_state(held.id, Running(), force=True)
    assert PrefectRuns().under_way("watch")

    serving.start("serving")

    wait_until(lambda: {run.id for run in completed("watch")} - before, "a watch by the next process")
    with prefect_client() as client:
        state = client.read_flow_run(held.id).state
    assert state is not None
    assert state.is_crashed()
