"""An export for tests: a snapshot of labelled pictures as Parquet."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from data.catalog import Catalog
from data.exports import labelled_now, labelled_of_snapshot, write_export
from data.imports import import_samples
from data.inspections import create_inspection, get_inspection
from data.labels import record_label
from data.lake import Lake
from data.snapshots import take_snapshot
from data.sources import SourceSample
from edge_client.contract.bucket import DirectoryBucket

NAME, NOW = "caps", datetime(2030, 5, 1, 12, tzinfo=UTC)


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 12, 3), number, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def export_some(home: Path) -> Path:
    """Twenty pictures of an inspection `caps`, four of them held out, as Parquet."""
    catalog = Catalog.open(f"sqlite:///{home / 'catalog.db'}")
    create_inspection(catalog, NAME, [("ok", "ok"), ("dent", "defect")])
    lake = Lake(DirectoryBucket(home / "bucket"), home / "cache")
    samples = [
        SourceSample(path=f"{n}.png", image=picture(n), media_type="image/png", label="dent" if n % 4 == 0 else "ok",
                     side="golden" if n % 5 == 0 else "train", station="west")
        for n in range(20)
    ]  # fmt: skip
    import_samples(catalog, lake, NAME, samples, clock=lambda: NOW)
    snapshot = take_snapshot(catalog, lake, NAME, at=NOW)
    two = labelled_now(catalog, NAME)[0].sample_id  # said after the snapshot: not in it
    record_label(catalog, sample_id=two, classes=["ok", "dent"], who="ann", event_id="e1", at=NOW)
    frozen = labelled_of_snapshot(catalog, snapshot)
    done = write_export(lake, get_inspection(catalog, NAME), frozen, home / "out", "parquet")
    assert (done.samples, done.problems, done.sides) == (20, [], {"train": 16, "golden": 4})
    now = write_export(lake, get_inspection(catalog, NAME), labelled_now(catalog, NAME), home / "now", "parquet")
    assert (now.samples, [p.path for p in now.problems]) == (19, [two])
    catalog.close()
    return home / "out"
