from __future__ import annotations

from pathlib import Path

import pytest

from data.catalog import Catalog
from data.lake import Lake
from edge_client.contract.bucket import DirectoryBucket
from tests.unit.data.conftest import catalog, first_catalog
from tests.unit.drift.captured_days import Days

__all__ = ["catalog", "first_catalog"]


@pytest.fixture
def days(tmp_path: Path, catalog: Catalog) -> Days:
    return Days(catalog, Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "cache"))
