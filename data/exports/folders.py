"""Folders of images by class: ``CLASS/…``, or ``SPLIT/CLASS/…``; also the form of YOLO for classification.

1. Written as ``train|golden|holdout/CLASS/FILE``; YOLO's names of the sides are train and val. A label of several
   classes is a folder ``a+b``.
2. Read back, the folder says the label: whoever moves a file to another folder has labelled it anew. What the index
   beside them says of the file is taken over for the rest.
3. A file in no class folder, or of another format, is a problem of that file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.exports.index import HELD_SIDES, TRAIN_SIDES, classes_of, index_beside, label_of, side_of_name
from data.exports.regions import mask_of_png
from data.exports.values import ExportError, FileLabel, Labelled
from data.sources.sample import MARK_ENDINGS, SourceProblem, mark_beside, media_type_of

_SPLITS = {*TRAIN_SIDES, *HELD_SIDES}
YOLO_SIDES = {"train": "train", "golden": "val", "holdout": "val"}


def place_in_folders(one: Labelled) -> str:
    """Where the image of a sample goes."""
    return f"{one.side}/{one.label}/{one.file_name}"


def place_for_yolo(one: Labelled) -> str:
    """The same with YOLO's names of the sides."""
    return f"{YOLO_SIDES[one.side]}/{one.label}/{one.file_name}"


def read_folders(root: Path) -> Iterator[FileLabel | SourceProblem]:
    """Read a folder of images by class, in the order of the paths.

    Raises:
        ExportError: There is no such folder, or no class folder in it.
    """
    if not root.is_dir():
        raise ExportError(f"{root}: no such folder; name one with a folder for each class, perhaps below train and val")
    index = index_beside(root)
    seen = False
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        parts = path.relative_to(root).parts
        if any(part.startswith(".") for part in parts) or (len(parts) == 1 and media_type_of(path) is None):
            continue  # the index, notes
        where = "/".join(parts)
        side, parts = (parts[0], parts[1:]) if parts[0].lower() in _SPLITS and len(parts) > 2 else ("", parts)
        if path.suffix == ".png" and path.stem.endswith(MARK_ENDINGS) and _marked(path):
            continue
        if len(parts) < 2:
            yield SourceProblem(path=where, reason="lies in no class folder; move it into one or delete it")
            continue
        seen = True
        if media_type_of(path) is None:
            yield SourceProblem(path=where, reason="not one of PNG, JPEG and WebP")
            continue
        yield _read(root, path, where, side, classes_of(parts[0]), index.get(path.name))
    if not seen:
        raise ExportError(f"{root}: no image lies in a class folder; expected CLASS/… or train/CLASS/…")


def _read(
    root: Path, path: Path, where: str, side: str, classes: tuple[str, ...], known: dict[str, str] | None
) -> FileLabel | SourceProblem:
    mark = mark_beside(path)
    try:
        defect = mask_of_png(mark) if mark else None
    except (OSError, ValueError) as error:
        return SourceProblem(path=where, reason=f"its mark cannot be read ({error}); mend it or delete it")
    if known is None:
        return FileLabel(where=where, image=path, classes=classes, side=side_of_name(side), defect=defect)
    cells = {**known, "path": path.relative_to(root).as_posix()}
    try:
        found = label_of(where, cells, classes, root)
    except ValueError as error:
        return SourceProblem(path=where, reason=str(error))
    return FileLabel(**{name: getattr(found, name) for name in _FIELDS}, defect=defect)


def _marked(path: Path) -> bool:
    """Whether there is an image that a file is the mark of."""
    stems = [path.stem.removesuffix(ending) for ending in MARK_ENDINGS if path.stem.endswith(ending)]
    return any(other != path and other.stem in stems and media_type_of(other) for other in path.parent.iterdir())


_FIELDS = tuple(name for name in FileLabel.__dataclass_fields__ if name != "defect")
