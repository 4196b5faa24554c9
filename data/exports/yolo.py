"""YOLO for detection: ``images/SIDE/FILE`` with ``labels/SIDE/NAME.txt`` and ``data.yaml``.

1. A line is ``class x y width height``, the middle and the size as shares of the frame, written with every digit: the
   box comes back to the pixel. Its pixels do not: this form has boxes alone.
2. A bad line is a problem of its image; an image without a text file is of no class.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data.exports.detection import defects_in, label_from_boxes
from data.exports.folders import YOLO_SIDES
from data.exports.index import classes_of, index_beside, label_of, side_of_name
from data.exports.regions import Box, Mask, mask_of_boxes
from data.exports.values import ExportError, FileLabel, Labelled
from data.sources.sample import SourceProblem, media_type_of


def place_for_boxes(one: Labelled) -> str:
    """Where the image of a sample goes."""
    return f"images/{YOLO_SIDES[one.side]}/{one.file_name}"


def lines_of(
    one: Labelled, mask: Mask | None, classes: Sequence[str], defects: Collection[str], size: tuple[int, int]
) -> str:
    """The text file of a sample."""
    width, height = size
    return "".join(
        f"{classes.index(name)} {(x + w / 2) / width!r} {(y + h / 2) / height!r} {w / width!r} {h / height!r}\n"
        for name, (x, y, w, h), _ in defects_in(one, mask, defects, size)
    )


def write_yaml(root: Path, classes: Sequence[str]) -> None:
    """Write the file that YOLO is given. JSON's strings are YAML's, whatever is in them."""
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(classes))
    (root / "data.yaml").write_text(
        f"# path is left out: it is the folder of this file\ntrain: images/train\nval: images/val\nnames:\n{names}",
        encoding="utf-8",
    )


def read_boxes(root: Path, *, defects: Collection[str], empty: str = "") -> Iterator[FileLabel | SourceProblem]:
    """Read a folder of this form.

    Raises:
        ExportError: It has no data.yaml with names, or no images.
    """
    names = _names(root)
    index = index_beside(root)
    images = sorted(p for p in (root / "images").rglob("*") if p.is_file() and media_type_of(p))
    if not images:
        raise ExportError(f"{root}: no image below images/; expected images/train and images/val")
    for path in images:
        below = path.relative_to(root / "images")
        where = f"images/{below.as_posix()}"
        try:
            found, boxes = _boxes(root / "labels" / below.with_suffix(".txt"), names)
            known = index.get(path.name)
            stated = classes_of(known["label"]) if known else None
            classes = label_from_boxes(found, stated, defects, empty)
            mask = _mask(path, boxes)
            if known is not None:
                cells = {**known, "path": path.relative_to(root).as_posix()}
                yield replace(label_of(where, cells, classes, root), defect=mask)
            else:
                side = side_of_name(below.parts[0]) if len(below.parts) > 1 else ""
                yield FileLabel(where=where, image=path, classes=classes, side=side, defect=mask)
        except (ValueError, OSError) as error:
            yield SourceProblem(path=where, reason=str(error))


def _boxes(path: Path, names: Mapping[int, str]) -> tuple[set[str], list[Box]]:
    """The classes and boxes, as shares, of a text file."""
    found: set[str] = set()
    boxes: list[Box] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else (), 1):
        if not line.strip():
            continue
        where = f"line {number} of {path.name}"
        try:
            kind, x, y, w, h = line.split()
            shares = [float(value) for value in (x, y, w, h)]
            name = names[int(kind)]
        except (ValueError, KeyError):
            raise ValueError(f"{where} is {line.strip()!r}, expected a class of data.yaml and four numbers") from None
        if not all(0 <= value <= 1 for value in shares):
            raise ValueError(f"{where}: {line.strip()!r} leaves the frame; expected shares from 0 to 1")
        found.add(name)
        boxes.append((shares[0] - shares[2] / 2, shares[1] - shares[3] / 2, shares[2], shares[3]))
    return found, boxes


def _mask(path: Path, boxes: Sequence[Box]) -> Mask | None:
    if not boxes:
        return None
    from PIL import Image

    with Image.open(path, formats=["PNG", "JPEG", "WEBP"]) as picture:
        width, height = picture.size
    return mask_of_boxes(((x * width, y * height, w * width, h * height) for x, y, w, h in boxes), height, width)


def _names(root: Path) -> dict[int, str]:
    """The classes of ``data.yaml``: a list or a table of names."""
    import yaml

    path = root / "data.yaml"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror or error}); it names the classes") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ExportError(f"{path}: is not YAML ({error})") from error
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(isinstance(k, int) and isinstance(v, str) for k, v in names.items()):
        raise ExportError(f"{path}: expected names: a list, or number: name")
    return names
