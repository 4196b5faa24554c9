"""COCO: ``annotations/instances_SIDE.json`` with ``images/SIDE/FILE``.

1. Pixels go out as uncompressed run lengths, so the mark comes back as it was; compressed ones, polygons and bare boxes
   are read too.
2. A bad image or annotation is a problem of that one; a file that is no COCO is an error.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.exports.detection import defects_in, label_from_boxes
from data.exports.index import classes_of, index_beside, label_of, side_of_name
from data.exports.regions import Mask, mask_of_boxes, mask_of_segmentation, run_lengths
from data.exports.values import ExportError, FileLabel, Labelled
from data.sources.sample import SourceProblem

_PREFIX = "instances_"
_MOST_BYTES = 2 << 30


class CocoWriter:
    """Collects what goes into the files; they are written at the end."""

    def __init__(self, classes: Iterable[str], defects: Collection[str]) -> None:
        """Begin with the classes in the inspection's order: category 1 is the first."""
        self._numbers = {name: number for number, name in enumerate(classes, 1)}
        self._defects = defects
        self._sides: defaultdict[str, dict[str, list[Any]]] = defaultdict(lambda: {"images": [], "annotations": []})

    def add(self, one: Labelled, mask: Mask | None, size: tuple[int, int]) -> None:
        """Add one image, `size` is (width, height)."""
        side = self._sides[one.side]
        image = len(side["images"]) + 1
        width, height = size
        side["images"].append(
            {"id": image, "file_name": f"images/{one.side}/{one.file_name}", "width": width, "height": height}
        )
        for name, box, pixels in defects_in(one, mask, self._defects, size):
            annotation: dict[str, Any] = {
                "id": len(side["annotations"]) + 1,
                "image_id": image,
                "category_id": self._numbers[name],
                "bbox": list(box),
                "area": float(box[2] * box[3] if pixels is None else pixels.sum()),
                "iscrowd": 0,
                "segmentation": [],
            }
            if pixels is not None:
                annotation["segmentation"] = {"size": [height, width], "counts": run_lengths(pixels)}
            side["annotations"].append(annotation)

    def write(self, root: Path, inspection: str) -> None:
        """Write a file for each side."""
        categories = [
            {"id": number, "name": name, "supercategory": "defect" if name in self._defects else "ok"}
            for name, number in self._numbers.items()
        ]
        (root / "annotations").mkdir(exist_ok=True)
        for side, content in self._sides.items():
            document = {"info": {"description": f"inspection {inspection}"}, **content, "categories": categories}
            (root / "annotations" / f"{_PREFIX}{side}.json").write_text(json.dumps(document), encoding="utf-8")


def read_coco(path: Path, *, defects: Collection[str], empty: str = "") -> Iterator[FileLabel | SourceProblem]:
    """Read a COCO file, or every one in the ``annotations`` of a folder.

    Raises:
        ExportError: There is none, or it is not one.
    """
    root = path if path.is_dir() else path.parent.parent if path.parent.name == "annotations" else path.parent
    files = sorted((path / "annotations").glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ExportError(f"{path}: no annotations/*.json below it; name the JSON file itself")
    index = index_beside(root)
    for file in files:
        yield from _read(file, root, index, defects, empty)


def _read(
    file: Path, root: Path, index: Mapping[str, dict[str, str]], defects: Collection[str], empty: str
) -> Iterator[FileLabel | SourceProblem]:
    document = _document(file)
    names = {c.get("id"): c.get("name") for c in document["categories"] if isinstance(c, dict)}
    of_image: defaultdict[Any, list[Any]] = defaultdict(list)
    ids = {image.get("id") for image in document["images"] if isinstance(image, dict)}
    for number, annotation in enumerate(document["annotations"], 1):
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        if not isinstance(image_id, int | str) or image_id not in ids:
            reason = f"belongs to image {image_id!r}, which is not in the file"
            yield SourceProblem(path=f"{file.name}, annotation {number}", reason=reason)
        else:
            of_image[image_id].append(annotation)
    side = file.stem.removeprefix(_PREFIX)
    for number, image in enumerate(document["images"], 1):
        name = image.get("file_name") if isinstance(image, dict) else None
        where = f"{file.name}, image {number}" + (f" ({name})" if name else "")
        try:
            yield _label(where, image, of_image[image.get("id")], names, root, index, defects, empty, side)
        except (ValueError, TypeError, AttributeError) as error:
            yield SourceProblem(path=where, reason=str(error))


def _label(
    where: str,
    image: Any,
    annotations: list[Any],
    names: Mapping[Any, Any],
    root: Path,
    index: Mapping[str, dict[str, str]],
    defects: Collection[str],
    empty: str,
    side: str,
) -> FileLabel:
    name, width, height = image.get("file_name"), image.get("width"), image.get("height")
    if not isinstance(name, str) or not all(isinstance(n, int) and 0 < n < 100_000 for n in (width, height)):
        raise ValueError("file_name, width or height is missing")
    found, mask = set(), None
    for annotation in annotations:
        category = names.get(annotation.get("category_id"))
        if not isinstance(category, str):
            known = annotation.get("category_id")
            raise ValueError(f"category {known!r} is not in the file's categories")  # noqa: TRY004 -- a file is wrong
        found.add(category)
        pixels = _pixels(annotation, height, width)
        if pixels is not None:
            mask = pixels if mask is None else mask | pixels
    path = _image(root, name)
    known = index.get(Path(name).name)
    stated = classes_of(known["label"]) if known else None
    classes = label_from_boxes(found, stated, defects, empty)
    if known is not None:
        relative = path.relative_to(root).as_posix() if path else ""
        return replace(label_of(where, {**known, "path": relative}, classes, root), defect=mask)
    try:
        stands = side_of_name(side)
    except ValueError:  # the file's name is just a name
        stands = ""
    return FileLabel(where=where, image=path, classes=classes, side=stands, defect=mask)


def _pixels(annotation: Mapping[str, Any], height: int, width: int) -> Mask | None:
    segmentation = annotation.get("segmentation")
    if segmentation:
        return mask_of_segmentation(segmentation, height, width)
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(n, int | float) for n in box):
        raise ValueError(f"bbox {box!r} is not [x, y, width, height]")
    return mask_of_boxes([(box[0], box[1], box[2], box[3])], height, width)


def _image(root: Path, name: str) -> Path | None:
    """The image's file, below the root or its folder of images."""
    for path in (root / name, root / "images" / name):
        if path.resolve().is_relative_to(root.resolve()) and path.is_file():
            return path
    return None


def _document(file: Path) -> dict[str, list[Any]]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ExportError(f"{file}: is larger than {_MOST_BYTES >> 30} GiB; split it")
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(f"{file}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ExportError(f"{file}: is not JSON ({error})") from error
    parts = ("images", "annotations", "categories")
    if not isinstance(document, dict) or not all(isinstance(document.get(part), list) for part in parts):
        raise ExportError(f"{file}: is not COCO: expected the lists images, annotations and categories")
    return document
