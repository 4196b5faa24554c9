from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.catalog import Catalog
from data.lake import Lake
from edge_client.contract.bucket import DirectoryBucket
from tests.unit.data.captured_line import new_catalog, sqlite_url
from tests.unit.drift.captured_days import Days


@pytest.fixture(scope="session")
def first_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new catalog's file; copying it is faster than migrating for each test."""
    folder = tmp_path_factory.mktemp("first-catalog")
    new_catalog(sqlite_url(folder)).close()
    return folder / "catalog.db"


@pytest.fixture
def days(tmp_path: Path, first_catalog: Path) -> Iterator[Days]:
    shutil.copy(first_catalog, tmp_path / "catalog.db")
    catalog = Catalog.open(sqlite_url(tmp_path))
    yield Days(catalog, Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "cache"))
    catalog.close()
