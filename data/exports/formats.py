"""The forms, by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from data.exports.coco import read_coco
from data.exports.folders import read_folders
from data.exports.index import read_index
from data.exports.values import INDEX_FILE, ExportError, FileLabel
from data.exports.yolo import read_boxes
from data.sources.sample import SourceProblem

#: Name -> what it is, for people.
FORMATS: Mapping[str, str] = {
    "csv": "labels.csv, one line for each sample, with the images beside it",
    "folders": "SPLIT/CLASS/image",
    "coco": "annotations/instances_SPLIT.json with images/SPLIT/, pixels of marked defects as segmentation",
    "yolo": "train|val/CLASS/image, for YOLO's classification",
    "yolo-boxes": "images/ and labels/ with data.yaml, for YOLO's detection",
    "parquet": "data/SPLIT-*.parquet with images, for pandas, DuckDB and Hugging Face datasets",
}
#: Those that can be imported.
READABLE = tuple(name for name in FORMATS if name != "parquet")


def read_labels(
    path: Path, form: str, *, defects: Collection[str], empty: str = ""
) -> Iterator[FileLabel | SourceProblem]:
    """Read what a file or folder of a form says.

    Args:
        path: File or folder.
        form: One of :data:`READABLE`.
        defects: The inspection's classes of kind defect.
        empty: For forms with boxes: what an image without one is.

    Raises:
        ExportError: It is not of that form; nothing was read.
    """
    if form == "csv":
        return read_index(path / INDEX_FILE if path.is_dir() else path)
    if form in ("folders", "yolo"):
        return read_folders(path)
    if form == "coco":
        return read_coco(path, defects=defects, empty=empty)
    if form == "yolo-boxes":
        return read_boxes(path, defects=defects, empty=empty)
    raise ExportError(f"form {form!r} cannot be imported; expected one of {', '.join(READABLE)}")
