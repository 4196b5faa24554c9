"""The synthetic catalog has every column of today's tables, and what its maker says of it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from benchmarks.many_samples import KEPT, fill
from data.catalog import Catalog
from data.catalog.models import LabelEventRow, SampleRow
from data.lake import Lake
from edge_client.contract.bucket import DirectoryBucket


def test_a_small_one_is_filled_from_factory_to_drift(tmp_path: Path) -> None:
    catalog = Catalog.open(f"sqlite:///{tmp_path}/catalog.db")
    made = fill(catalog, Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "cache"), 40 * KEPT)
    with catalog.reading() as session:
        field = session.scalar(select(func.count()).select_from(SampleRow).where(SampleRow.origin == "field"))
        labels = session.scalar(select(func.count()).select_from(LabelEventRow))
    catalog.close()
    assert (field, labels) == (made.samples, made.labels)
    assert made.draws > 0
