from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.catalog import Catalog
from tests.unit.fleet.plant import Plant


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database to copy: migrating takes half a second."""
    path = tmp_path_factory.mktemp("fleet") / "catalog.db"
    Catalog.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def plant(tmp_path: Path, empty: Path) -> Iterator[Plant]:
    """In memory where there is one: what is synced here is not what is tested."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path, prefix="andon-") as folder:
        shutil.copy(empty, Path(folder) / "catalog.db")
        catalog = Catalog.open(f"sqlite:///{Path(folder) / 'catalog.db'}")
        yield Plant(catalog, Path(folder))
        catalog.close()
