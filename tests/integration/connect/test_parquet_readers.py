"""A snapshot's Parquet in the libraries that people read it with."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
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


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
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


def test_hugging_face_datasets_gets_images_and_class_labels(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the extra `dev` has it")
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(exported), cache_dir=str(tmp_path))
    assert {side: len(loaded[side]) for side in loaded} == {"train": 16, "golden": 4}
    train = loaded["train"]
    assert isinstance(train.features["image"], datasets.Image)
    assert train.features["label"].names == ["ok", "dent"]
    for row in train:
        number = int(np.asarray(row["image"])[0, 0, 0])
        assert row["image"].size == (12, 8)
        assert train.features["label"].int2str(row["label"]) == ("dent" if number % 4 == 0 else "ok")
        assert row["captured_at"] == NOW


def test_duckdb_counts_and_reads_the_bytes(exported: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="the extra `dev` has it")
    files = str(exported / "data" / "*.parquet")
    counts = duckdb.sql(f"SELECT label_name, count(*) FROM '{files}' GROUP BY 1 ORDER BY 1").fetchall()
    assert counts == [("dent", 5), ("ok", 15)]
    (image,) = duckdb.sql(f"SELECT image.bytes FROM '{files}' WHERE label_name = 'dent' LIMIT 1").fetchall()[0]
    assert Image.open(io.BytesIO(image)).size == (12, 8)


def test_pandas_reads_rows_with_images(exported: Path) -> None:
    import pandas as pd

    rows = pd.read_parquet(exported / "data")
    assert len(rows) == 20
    assert set(rows["station"]) == {"west"}
    for row in rows.itertuples():
        number = np.asarray(Image.open(io.BytesIO(row.image["bytes"])))[0, 0, 0]
        assert (row.label, row.label_name) == ((1, "dent") if number % 4 == 0 else (0, "ok"))
        assert row.image["path"] == f"{row.sample_id}.png"
