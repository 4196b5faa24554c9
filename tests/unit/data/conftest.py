from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from data.catalog import Catalog
from tests.unit.data.captured_line import Line, new_catalog, sqlite_url


@pytest.fixture(scope="session")
def first_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new catalog's file; copying it is faster than migrating for each test."""
    folder = tmp_path_factory.mktemp("first-catalog")
    new_catalog(sqlite_url(folder)).close()
    return folder / "catalog.db"


@pytest.fixture
def catalog(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Catalog]:
    if request.node.get_closest_marker("sqlite_file"):  # the first may lie on another database
        opened = new_catalog(sqlite_url(tmp_path))
    else:
        shutil.copy(request.getfixturevalue("first_catalog"), tmp_path / "catalog.db")
        opened = Catalog.open(sqlite_url(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def line(catalog: Catalog) -> Line:
    return Line(catalog, np.random.default_rng(7))
