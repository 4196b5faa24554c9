"""The same retrain on threads and on a cluster of two workers: the same model, whatever becomes of a worker."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import count

import httpx
import psutil
import pytest

from data.inspections import create_inspection
from data.snapshots import load_snapshot
from data.workspace import Workspace
from flows import environment
from flows.champion import metadata_of
from flows.registry import Registry
from flows.tags import Tag
from flows.task_runner import Here, TaskRunnerError, runner_of
from flows.tiers import Order, fit_by_tier
from tests.integration.flows.line import import_factory_parts
from tests.integration.flows.stack import PATIENCE_SECONDS, Stack, wait_until
from tests.ray.cluster import Cluster, kill

PARTS = 200
_NUMBERS = count(1)


def forget(workspace: Workspace) -> None:
    """Delete what was computed; the exported backbone stays, which nobody computes on a cluster."""
    for folder in ("embeddings", "finetune"):
        shutil.rmtree(workspace.cache / folder, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def settings(stack: Stack, cluster: Cluster) -> Iterator[None]:
    """The cluster is named as a user names it."""
    (stack.home / "services.toml").write_text(f'[ray]\naddress = "{cluster.address}"\n')
    (stack.home / "policy.toml").write_text("[finetune]\nepochs = 3\nstages = 4\nthreads = 2\n")
    yield
    (stack.home / "services.toml").unlink()


@pytest.fixture
def plates(stack: Stack) -> str:
    """An inspection with labelled parts that no earlier test embedded."""
    name = f"plates-{next(_NUMBERS)}"
    workspace = stack.workspace
    forget(workspace)
    create_inspection(
        workspace.catalog(), name, [("ok", "ok"), ("crack", "defect")], {"variant": "fp32", "input": {"side": 64}}
    )
    import_factory_parts(workspace, name, PARTS)
    return name


def on_threads(workspace: Workspace, registry: Registry, name: str, version: str, tier: str) -> tuple[str, bytes]:
    """The engine that threads of this process make of what a version was made of, from nothing."""
    forget(workspace)
    known = registry.api.version(name, version)
    made = metadata_of(registry.engine_bytes(known))
    snapshot = load_snapshot(workspace.catalog(), workspace.lake(), known.tags[Tag.SNAPSHOT])
    workspace.bucket().delete(f"lake/{name}/trunk.onnx")  # chosen anew as well
    at = datetime.fromisoformat(made.created_at)
    order = Order(tier=tier, run_id=known.run_id, seed=0, sabotage=False, now=at)
    with runner_of(replace(workspace, ray_address="")) as runner:
        assert isinstance(runner, Here)
        fitted = fit_by_tier(workspace, snapshot, None, replace(order, runner=runner))
    return fitted.challenger.metadata.engine_id, fitted.challenger.engine


def start_flow(stack: Stack, name: str, tier: str = "head") -> subprocess.Popen[str]:
    """A run of the flow in a process of its own, as Prefect starts it."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from flows.retrain import retrain; retrain({name!r}, tier={tier!r})"],
        env=stack.environment() | environment.QUIET,
        cwd=stack.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> None:
    told, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, told[-5000:]


def wait_in(process: subprocess.Popen[str], holds: Callable[[], object], what: str) -> None:
    """Wait until something holds while a flow runs; one that has ended says why."""

    def still() -> object:
        if (found := holds()) or process.poll() is None:
            return found
        raise AssertionError(f"{what}: the flow ended before it:\n{process.communicate()[0][-5000:]}")

    wait_until(still, what)


def pieces_of(stack: Stack) -> list[str]:
    """Names of the tasks that completed in the newest run of a flow, as Prefect's pages show them."""
    url = f"http://127.0.0.1:{stack.ports['prefect']}/api"
    (newest,) = httpx.post(f"{url}/flow_runs/filter", json={"sort": "START_TIME_DESC", "limit": 1}).json()
    found = httpx.post(f"{url}/task_runs/filter", json={"flow_runs": {"id": {"any_": [newest["id"]]}}}).json()
    assert {task["state_type"] for task in found} == {"COMPLETED"}, found
    return sorted(task["name"] for task in found)


def makes_the_same_engine(stack: Stack, registry: Registry, plates: str, tier: str) -> None:
    workspace = stack.workspace
    began = time.monotonic()
    finished(start_flow(stack, plates, tier))
    on_workers = time.monotonic() - began

    engine = registry.engine_bytes(registry.api.version(plates, "1"))
    names = pieces_of(stack)
    began = time.monotonic()
    engine_id, again = on_threads(workspace, registry, plates, "1", tier)
    print(f"{tier}: engine {engine_id}, the whole flow on two workers of one core {on_workers:.1f} s, "
          f"its fitting alone on threads {time.monotonic() - began:.1f} s")  # fmt: skip
    assert metadata_of(engine).engine_id == engine_id
    assert engine == again
    assert f"fit a head for {plates}" in names
    assert sum(name.startswith("embed ") for name in names) >= 3  # of 64 frames at most
    assert (f"fine-tune the trunk of {plates}" in names) == (tier == "finetune")


def test_a_retrain_on_two_workers_makes_the_engine_that_threads_make(
    stack: Stack, registry: Registry, plates: str
) -> None:
    makes_the_same_engine(stack, registry, plates, "head")


def test_a_cluster_that_is_not_there_is_named(workspace: Workspace) -> None:
    gone = replace(workspace, ray_address="ray://127.0.0.1:1")
    with pytest.raises(TaskRunnerError, match=r"the Ray cluster at ray://127.*cannot be reached"), runner_of(gone):
        pass


def test_a_machine_that_is_lost_while_it_trains_costs_nothing(
    stack: Stack, cluster: Cluster, workspace: Workspace, registry: Registry, plates: str
) -> None:
    process = start_flow(stack, plates, "finetune")
    trains: list[str] = []
    wait_in(
        process,
        lambda: trains.extend(n for n in ("worker-0", "worker-1") if cluster.at_work(n, "fine-tune")) or trains,
        "a worker that trains",
    )
    checkpoints = workspace.cache / "finetune"
    wait_in(process, lambda: list(checkpoints.glob("*/last.ckpt")), "the first epoch")
    cluster.kill(trains[0])
    finished(process)
    cluster.add(trains[0])

    engine = registry.engine_bytes(registry.api.version(plates, "1"))
    assert engine == on_threads(workspace, registry, plates, "1", "finetune")[1]


def test_a_worker_that_is_killed_while_it_embeds_costs_nothing(
    stack: Stack, cluster: Cluster, workspace: Workspace, registry: Registry, plates: str
) -> None:
    process = start_flow(stack, plates)
    at_work: list[psutil.Process] = []
    wait_in(process, lambda: at_work.extend(cluster.at_work("worker-0", "embed")) or at_work, "a worker that embeds")
    kill(at_work[0])
    finished(process)

    engine = registry.engine_bytes(registry.api.version(plates, "1"))
    assert engine == on_threads(workspace, registry, plates, "1", "head")[1]


def test_a_trunk_that_is_fine_tuned_there_is_the_one_that_threads_make(
    stack: Stack, registry: Registry, plates: str
) -> None:
    makes_the_same_engine(stack, registry, plates, "finetune")
