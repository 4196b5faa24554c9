"""A plugin for pytest: the stack of the flows' tests is on PostgreSQL and OpenStack Swift, both over TLS.

    python -m pytest -p tests.production.stack_elsewhere tests/integration/flows

1. `Stack` states both in `services.toml` of its home directory, as a plant does: three databases and a bucket.
2. MLflow's and Prefect's servers are started as `andon` starts them there; starting the bucket starts nothing.
3. The tests are the same, and know nothing of it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from data.services import Services, load_services
from edge_client.contract.bucket import S3Bucket
from infra.stack.databases import make_databases, upgrade_databases
from infra.stack.servers import Server, mlflow_database, mlflow_server, prefect_database, prefect_server
from tests.integration.flows.stack import Stack
from tests.production.plant import Plant, running_plant

_HOST = "127.0.0.1"


class _Elsewhere:
    """What `Stack` does instead."""

    def __init__(self, plant: Plant) -> None:
        self.plant, self.stacks = plant, 0

    def prepare(self, stack: Stack, before: Callable[[Stack], None]) -> None:
        """Rule 1."""
        before(stack)
        self.stacks += 1
        settings = replace(self.plant.swift.settings, bucket=f"stack{self.stacks}")
        S3Bucket.connect(settings).client.create_bucket(Bucket=settings.bucket)
        (stack.home / "services.toml").write_text(self.plant.services(f"stack{self.stacks}", bucket=settings.bucket))
        database = _services(stack).database
        assert database is not None
        make_databases(database)
        upgrade_databases(database)

    def server(self, stack: Stack, name: str) -> Server | None:
        """Rule 2; None for what is started as ever."""
        services, port = _services(stack), stack.ports.get(name, 0)
        assert services.database is not None
        assert services.bucket is not None
        if name == "mlflow":
            database = mlflow_database(services.database)
            return mlflow_server(host=_HOST, port=port, database=database, bucket=services.bucket)
        if name == "prefect":
            return prefect_server(
                host=_HOST, port=port, home=stack.home / "prefect", url=f"http://{_HOST}:{port}",
                database=prefect_database(services.database),
            )  # fmt: skip
        return None


def _services(stack: Stack) -> Services:
    return load_services(stack.home, environ={})


@contextmanager
def _on(plant: Plant) -> Iterator[_Elsewhere]:
    there = _Elsewhere(plant)
    prepare, start, command, environment, ready = (
        Stack.prepare, Stack.start, Stack.command, Stack.environment, Stack.ready,
    )  # fmt: skip

    def new_start(stack: Stack, name: str, extra: Mapping[str, str] | None = None) -> subprocess.Popen[bytes] | None:
        if name == "bucket":
            return None
        server = there.server(stack, name)
        return start(stack, name, {**(server.environment if server else {}), **(extra or {})})

    def new_command(stack: Stack, name: str) -> list[str]:
        server = there.server(stack, name)
        return command(stack, name) if server is None else list(server.command)

    def new_environment(stack: Stack) -> dict[str, str]:
        return {k: v for k, v in environment(stack).items() if not k.startswith(("AWS_", "MLFLOW_S3"))}

    new: dict[str, Any] = {
        "prepare": lambda stack: there.prepare(stack, prepare),
        "start": new_start,
        "command": new_command,
        "environment": new_environment,
        "ready": lambda stack, name: name == "bucket" or ready(stack, name),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, does in new.items():
            patch.setattr(Stack, name, does)
        yield there


_open = ExitStack()
_there: list[_Elsewhere] = []


def pytest_configure(config: pytest.Config) -> None:
    folder = _open.enter_context(TemporaryDirectory(prefix="andon-elsewhere-"))
    _there.append(_open.enter_context(_on(_open.enter_context(running_plant(Path(folder))))))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    made = sum(there.stacks for there in _there)
    terminalreporter.write_line(f"{made} stacks were on PostgreSQL and OpenStack Swift, both over TLS")


def pytest_unconfigure(config: pytest.Config) -> None:
    _open.close()
