"""One stack for all tests of the flows: starting its servers is most of what they cost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

import pytest

from data.inspections import create_inspection
from data.workspace import Workspace
from flows import environment
from flows.registry import Registry
from flows.releases.repository import ReleaseRepository
from flows.stack import registry_of, repository_of
from tests.integration.flows.stack import Stack, wait_until


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Bucket, MLflow and Prefect; all started at once."""
    made = Stack(home=tmp_path_factory.mktemp("flows") / "home")
    made.prepare()
    before = dict(os.environ)
    try:
        for name in ("mlflow", "prefect", "bucket"):
            made.start(name)
        wait_until(lambda: made.ready("bucket"), "bucket")
        wait_until(lambda: made.ready("mlflow"), "MLflow")
        environment.point_at(made.workspace)
        repository_of(made.workspace, lambda: datetime.now(UTC)).create()
        yield made
    finally:
        made.stop()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def workspace(stack: Stack) -> Workspace:
    return stack.workspace


@pytest.fixture
def registry(workspace: Workspace) -> Registry:
    return registry_of(workspace)


@pytest.fixture
def repository(workspace: Workspace) -> ReleaseRepository:
    return repository_of(workspace, lambda: datetime.now(UTC))


_NUMBERS = count(1)


@pytest.fixture
def name(workspace: Workspace) -> str:
    """An inspection that no other test uses."""
    made = create_inspection(workspace.catalog(), f"part-{next(_NUMBERS)}", [("ok", "ok"), ("defect", "defect")])
    return made.name
