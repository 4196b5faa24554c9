from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from data.catalog import Catalog
from data.lake import Lake
from edge_client.contract.bucket import DirectoryBucket
from tests.unit.data.captured_line import new_catalog, sqlite_url
from tests.unit.drift.captured_days import Days


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = new_catalog(sqlite_url(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def days(catalog: Catalog, tmp_path: Path) -> Days:
    return Days(catalog, Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "cache"))
