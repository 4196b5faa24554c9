from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.catalog import Catalog


@pytest.fixture(scope="session")
def first_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new catalog's file; copying it is faster than migrating for each test."""
    path = tmp_path_factory.mktemp("users") / "catalog.db"
    Catalog.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def catalog(tmp_path: Path, first_catalog: Path) -> Iterator[Catalog]:
    shutil.copy(first_catalog, tmp_path / "catalog.db")
    opened = Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}")
    yield opened
    opened.close()
