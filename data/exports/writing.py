"""Write labelled samples into a folder.

1. The folder appears when it is complete: it is written beside and renamed. One that is there and holds anything is
   left alone.
2. One image is in memory at a time. An image that cannot be read is a problem of that sample; the rest goes out.
"""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from data.exports.coco import CocoWriter
from data.exports.folders import place_for_yolo, place_in_folders
from data.exports.formats import FORMATS
from data.exports.index import write_index
from data.exports.parquet import ParquetWriter
from data.exports.regions import Mask, mask_of_png
from data.exports.values import INDEX_FILE, ExportError, Labelled
from data.exports.yolo import lines_of, place_for_boxes, write_yaml
from data.inspections import Inspection
from data.lake import Lake, LakeError
from data.sources.sample import SourceProblem
from edge_client.contract.errors import BucketError

_PLACES: dict[str, Callable[[Labelled], str]] = {
    "csv": lambda one: f"images/{one.file_name}",
    "folders": place_in_folders,
    "coco": lambda one: f"images/{one.side}/{one.file_name}",
    "yolo": place_for_yolo,
    "yolo-boxes": place_for_boxes,
}
_MARKED = ("csv", "folders")  # forms with the mark as a file beside the image


@dataclass(slots=True, kw_only=True)
class Written:
    """What went out: samples by class and by side, marks, bytes of images, and what could not be written."""

    samples: int = 0
    marks: int = 0
    bytes: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    sides: Counter[str] = field(default_factory=Counter)
    problems: list[SourceProblem] = field(default_factory=list)


def write_export(
    lake: Lake,
    inspection: Inspection,
    samples: Iterable[Labelled],
    to: Path,
    form: str,
    *,
    images: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Write samples into the folder `to`.

    Args:
        lake: Where the images are.
        inspection: With its classes in order.
        samples: What is to go out.
        to: The folder; it must not be there, or be empty.
        form: One of :data:`data.exports.formats.FORMATS`.
        images: Whether images go out too; without them only ``csv`` makes sense.
        progress: Called with the number of samples done.

    Raises:
        ExportError: The folder is taken or cannot be written, or the form has to have images.
    """
    if form not in FORMATS:
        raise ExportError(f"form {form!r} is unknown; expected one of {', '.join(FORMATS)}")
    if not images and form != "csv":
        raise ExportError(f"form {form!r} consists of images; only csv can go without")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ExportError(f"{to}: is there already; name a folder that is not, or empty it")
    part = to.parent / f".{to.name}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        done = _Export(lake, inspection, part, form, images).write(samples, progress)
        if to.exists():
            to.rmdir()
        part.rename(to)
    except OSError as error:
        raise ExportError(f"{to}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return done


class _Export:
    def __init__(self, lake: Lake, inspection: Inspection, root: Path, form: str, images: bool) -> None:
        self._lake, self._inspection, self._root = lake, inspection, root
        self._form, self._images = form, images
        self._marked = lake.marked(inspection.name)
        self._coco = CocoWriter(inspection.class_names, inspection.defect_names) if form == "coco" else None
        self._parquet = ParquetWriter(root, inspection.class_names) if form == "parquet" else None
        self._index: list[tuple[Labelled, str]] = []
        self._done = Written()

    def write(self, samples: Iterable[Labelled], progress: Callable[[int], None] | None) -> Written:
        for number, one in enumerate(samples, 1):
            try:
                self._one(one)
            except (BucketError, LakeError, ValueError) as error:
                self._done.problems.append(SourceProblem(path=one.sample_id, reason=str(error)))
            if progress is not None:
                progress(number)
        if self._parquet is not None:
            self._parquet.close(self._inspection.name)
            return self._done
        if self._coco is not None:
            self._coco.write(self._root, self._inspection.name)
        if self._form == "yolo-boxes":
            write_yaml(self._root, self._inspection.class_names)
        write_index(self._root / INDEX_FILE, self._index)
        return self._done

    def _one(self, one: Labelled) -> None:
        if not self._images:
            self._count(one, "", 0)
            return
        image, _ = self._lake.image(one.lake_path, one.lake_row)
        if self._parquet is not None:
            if not self._parquet.add(one, image):
                raise ValueError(f"has the label {one.label}: this form takes one class of the inspection")
            self._count(one, "", len(image))
            return
        mark = self._lake.mark(self._inspection.name, one.image_sha256) if one.image_sha256 in self._marked else None
        place = _PLACES[self._form](one)
        path = self._root / place
        if self._form in ("coco", "yolo-boxes"):
            self._boxes(one, mask_of_png(mark) if mark else None, _size(image))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
        if mark and self._form in _MARKED:
            path.with_name(f"{one.sample_id}.mask.png").write_bytes(mark)
        self._done.marks += mark is not None
        self._count(one, place, len(image))

    def _boxes(self, one: Labelled, mask: Mask | None, size: tuple[int, int]) -> None:
        if mask is not None and mask.shape != (size[1], size[0]):
            raise ValueError(f"its mark is {mask.shape[1]} x {mask.shape[0]}, the image {size[0]} x {size[1]}")
        if self._coco is not None:
            self._coco.add(one, mask, size)
            return
        path = (self._root / "labels" / Path(place_for_boxes(one)).relative_to("images")).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = lines_of(one, mask, self._inspection.class_names, self._inspection.defect_names, size)
        path.write_text(lines, encoding="utf-8")

    def _count(self, one: Labelled, place: str, size: int) -> None:
        self._index.append((one, place))
        self._done.samples += 1
        self._done.bytes += size
        self._done.classes[one.label] += 1
        self._done.sides[one.side] += 1


def _size(image: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(image), formats=["PNG", "JPEG", "WEBP"]) as picture:
        return picture.size
