"""The archive that a rehearsal plays: a CSV of labelled images, and the demo's own."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path

from data.sources.csv_index import CsvSource
from data.sources.elpv import ElpvSource
from data.sources.sample import Stage
from edge_client.contract.errors import ConfigError
from infra.rehearsal.plan import Frame

HELD_OUT = 3  # one of so many polycrystalline cells is never streamed


def read_archive(index: Path, columns: Mapping[str, str]) -> tuple[Frame, ...]:
    """Read the index of an archive.

    Args:
        index: CSV with the columns path and label, and optionally group, station, time, stage.
        columns: Our name of a column → its name in the file, such as ``{"station": "exposure"}``.

    Raises:
        SourceError: The index or a file that it names cannot be used.
        ConfigError: A line has no label.
    """
    source = CsvSource.open(index, columns=columns)
    staged = _has_column(index, columns.get("stage", "stage"))
    frames = []
    for number, row in enumerate(source.rows):
        if row.label is None:
            raise ConfigError(
                f"{index}, line {row.line}: {row.path} has no label; a rehearsal needs one for each image"
            )
        frames.append(
            Frame(
                frame_id=f"f{number:06d}",
                path=(index.parent / row.path).resolve(),
                label=row.label,
                group=row.group or row.path,
                station=row.station,
                time=row.time,
                stage=row.stage if staged else None,
            )
        )
    return tuple(frames)


def write_demo_index(path: Path, seed: int) -> Path:
    """Write the index of the demo's story over the ELPV package's own images, and return its path.

    The factory's model learnt monocrystalline solar cells; the line then switches to polycrystalline ones. A third of
    those, drawn by `seed`, is held out.
    """
    source = ElpvSource.open()
    path.parent.mkdir(parents=True, exist_ok=True)
    poly = sorted((c for c in source.cells if c.kind == "poly"), key=lambda c: _number(c.path, seed))
    held = {c.path for c in poly[: len(poly) // HELD_OUT]}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "stage", "group"])
        for cell in source.cells:
            if cell.kind == "mono":
                stage = Stage.FACTORY
            else:
                stage = Stage.HOLDOUT if cell.path in held else Stage.STREAM
            # The group decides what is golden: it must not depend on where the package is installed.
            writer.writerow([str(source.root / cell.path), cell.label, stage.value, cell.path])
    return path


def _has_column(index: Path, name: str) -> bool:
    with index.open(newline="", encoding="utf-8-sig") as file:
        return name in next(csv.reader(file), [])


def _number(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()
