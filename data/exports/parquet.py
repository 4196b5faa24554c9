"""Parquet as Hugging Face ``datasets`` wants it, and pandas and DuckDB read it.

1. ``image`` is {bytes, path} and ``label`` the number of a class; the features in each file's metadata make them an
   Image and a ClassLabel. ``label_name`` is the class in words, for everybody else.
2. A sample of several classes has no single number: it is left out and counted.
3. Files are ``data/SIDE-00000.parquet``, each at most about 256 MiB, in groups of 64 rows, and ``README.md`` names the
   sides as splits, so that ``load_dataset(FOLDER)`` needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.exports.values import Labelled

_GROUP_ROWS = 64
_FILE_BYTES = 256 << 20
_TEXTS = ("sample_id", "label_name", "origin", "group", "device", "station", "part_id", "labelled_by", "image_sha256")
_TIMES = ("captured_at", "labelled_at")


class ParquetWriter:
    """Writes the files as samples come in; a group of rows is in memory at a time for each side."""

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        """Write below `root`; `classes` in the inspection's order are the numbers from 0 on."""
        self._root, self._classes = root / "data", list(classes)
        self._schema = _schema(self._classes)
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._open: dict[str, tuple[Any, int]] = {}  # side -> writer, bytes in it
        self._files: dict[str, int] = {}

    def add(self, one: Labelled, image: bytes) -> bool:
        """Add a sample; False if it has several classes (rule 2)."""
        if len(one.classes) != 1 or one.classes[0] not in self._classes:
            return False
        rows = self._rows.setdefault(one.side, [])
        rows.append(
            {
                "image": {"bytes": image, "path": one.file_name},
                "label": self._classes.index(one.classes[0]),
                "label_name": one.classes[0],
                "labelled_by": one.by or None,
                "labelled_at": one.at,
                **{name: getattr(one, name) for name in ("sample_id", "origin", "group", "device", "station")},
                **{name: getattr(one, name) for name in ("part_id", "captured_at", "image_sha256")},
            }
        )
        if len(rows) >= _GROUP_ROWS:
            self._flush(one.side)
        return True

    def close(self, inspection: str) -> None:
        """Write what is left, and the card."""
        for side in list(self._rows):
            self._flush(side)
        for writer, _ in self._open.values():
            writer.close()
        splits = "".join(
            f"      - split: {side}\n        path: data/{side}-*.parquet\n" for side in sorted(self._files)
        )
        head = f"---\nconfigs:\n  - config_name: default\n    data_files:\n{splits}---\n" if splits else ""
        text = f"{head}\n# {inspection}\n\nLabelled images; classes: {', '.join(self._classes)}.\n"
        (self._root.parent / "README.md").write_text(text, encoding="utf-8")

    def _flush(self, side: str) -> None:
        rows = self._rows.pop(side, [])
        if not rows:
            return
        writer, size = self._open.pop(side, (None, 0))
        if writer is None:
            number = self._files.get(side, 0)
            self._files[side] = number + 1
            self._root.mkdir(exist_ok=True)
            path = self._root / f"{side}-{number:05d}.parquet"
            writer = pq.ParquetWriter(path, self._schema, compression="zstd", use_dictionary=["label_name"])
        writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))
        size += sum(len(row["image"]["bytes"]) for row in rows)
        if size >= _FILE_BYTES:
            writer.close()
        else:
            self._open[side] = (writer, size)


def _schema(classes: list[str]) -> Any:
    """Rule 1."""
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": classes, "_type": "ClassLabel"},
        **{name: {"dtype": "string", "_type": "Value"} for name in _TEXTS},
        **{name: {"dtype": "timestamp[us, tz=UTC]", "_type": "Value"} for name in _TIMES},
    }
    fields = [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label", pa.int64()),
        *((name, pa.string()) for name in _TEXTS),
        *((name, pa.timestamp("us", tz="UTC")) for name in _TIMES),
    ]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})
