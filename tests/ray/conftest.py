"""The servers of the flows' tests, and a Ray cluster of two workers beside them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.flows.conftest import registry, stack, workspace
from tests.ray.cluster import Cluster

__all__ = ["registry", "stack", "workspace"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    try:
        made.start()
        yield made
    finally:
        made.stop()
