"""A snapshot's Parquet in the libraries that people read it with."""

from __future__ import annotations

import io
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image

from tests.integration.connect.exported import NOW, export_some


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_some(tmp_path_factory.mktemp("home"))


def test_hugging_face_datasets_gets_images_and_class_labels(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets  # reads the variable above when it is imported

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
