"""PostgreSQL and OpenStack Swift, both over TLS, as a plant has them: `make test-production` runs what is here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.production.plant import Plant, running_plant


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Both servers, and the files that name them."""
    with running_plant(tmp_path_factory.mktemp("plant")) as plant:
        yield plant


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
