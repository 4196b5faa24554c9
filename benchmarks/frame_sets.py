"""The two data sets on which decisions are compared: solar cells from a package, magnetic tiles from a folder."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from elpv_dataset.utils import load_dataset
from numpy.typing import NDArray

from benchmarks.parity import LabelledFrames
from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.frames import decode

_OK = "ok"
_INDEX = "index.csv"


def solar_cells() -> LabelledFrames:
    """ELPV (Buerhop et al. 2018): 2,624 electroluminescence images of cells, 300 x 300."""
    images, probability, _ = load_dataset()
    return LabelledFrames(
        name="elpv",
        frames=[np.ascontiguousarray(np.repeat(image[:, :, None], 3, axis=2)) for image in images],
        labels=(probability > 0.5).astype(np.int64),
        classes=(ClassInfo(name=_OK, kind=Kind.OK), ClassInfo(name="defect", kind=Kind.DEFECT)),
    )


def labelled_images(place: Path) -> LabelledFrames:
    """Images with an `index.csv` of columns path and label; the label `ok` is of kind ok, every other a defect.

    Args:
        place: A folder or a tar file with the index at its top.
    """
    read = _reader(place)
    rows = _rows(read)
    names = [_OK, *sorted({row["label"] for row in rows} - {_OK})]
    return LabelledFrames(
        name=place.stem,
        frames=[decode(read(row["path"])) for row in rows],
        labels=np.array([names.index(row["label"]) for row in rows], dtype=np.int64),
        classes=tuple(ClassInfo(name=name, kind=Kind.OK if name == _OK else Kind.DEFECT) for name in names),
    )


def column_of(place: Path, name: str) -> NDArray[np.str_]:
    """Return a column of the `index.csv` of images, str [n], in the order of `labelled_images`.

    Raises:
        ValueError: There is no such column.
    """
    rows = _rows(_reader(place))
    if name not in rows[0]:
        raise ValueError(f"{place}: {_INDEX} has the columns {', '.join(rows[0])}; expected {name!r} among them")
    return np.array([row[name] for row in rows])


def _reader(place: Path) -> Callable[[str], bytes]:
    return _from_tar(place) if place.is_file() else lambda name: (place / name).read_bytes()


def _rows(read: Callable[[str], bytes]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(read(_INDEX).decode())))


def _from_tar(place: Path) -> Callable[[str], bytes]:
    with tarfile.open(place) as archive:
        files = {m.name: content.read() for m in archive.getmembers() if (content := archive.extractfile(m))}
    top = next(name for name in files if name.endswith(_INDEX))[: -len(_INDEX)]
    return lambda name: files[top + name]
