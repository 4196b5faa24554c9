"""Pieces of work on a cluster: a worker and a machine die under them, with a Prefect server and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from flows import environment
from tests.integration.flows.stack import ROOT, Stack, wait_until
from tests.ray.cluster import Cluster, kill


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Prefect server alone."""
    made = Stack(home=tmp_path_factory.mktemp("pieces") / "home")
    made.prepare()
    try:
        made.start("prefect")
        wait_until(lambda: made.ready("prefect"), "Prefect")
        yield made
    finally:
        made.stop()


def start(stack: Stack, address: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.ray.embeds", *([address] if address else [])],
        env=stack.environment() | environment.QUIET, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def digest(process: subprocess.Popen[str]) -> str:
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told[-5000:]
    print(told.splitlines()[-1])
    return told.split()[-1]


@pytest.fixture(scope="module")
def here(prefect: Stack) -> str:
    """What threads make of the frames."""
    return digest(start(prefect))


def work_of(cluster: Cluster, process: subprocess.Popen[str], node: str) -> Callable[[], object]:
    def works() -> object:
        assert process.poll() is None, process.communicate()[0][-5000:]
        return cluster.at_work(node, "embed")

    return works


def test_a_worker_and_a_machine_that_die_cost_nothing(prefect: Stack, cluster: Cluster, here: str) -> None:
    process = start(prefect, cluster.address)
    wait_until(work_of(cluster, process, "worker-0"), "a worker that embeds")
    kill(cluster.at_work("worker-0", "embed")[0])
    wait_until(work_of(cluster, process, "worker-1"), "the other worker")
    cluster.kill("worker-1")
    assert digest(process) == here
    cluster.add("worker-1")
