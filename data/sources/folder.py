"""A folder with one subfolder a class: the form in which most plants have their pictures.

1. Every subfolder of the root is a class, named by `check_class_name`; its images may lie in folders below it.
   Hidden files and folders are passed over.
2. A class needs at least two images: with one, nothing can be held out.
3. `X.mask.png` or `X_mask.png` beside an image `X.*` is a mask, not a sample; it is left out and reported.
4. Files of other formats are left out and reported; a class with nothing else is an error that names the format.
5. The order is that of the sorted relative paths.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data.sources.sample import (
    MARK_ENDINGS,
    SourceError,
    SourceProblem,
    SourceSample,
    Stage,
    mark_beside,
    media_type_of,
    read_image_file,
)
from edge_client.contract.errors import InvalidName
from edge_client.contract.names import check_class_name

_TAKEN = "PNG, JPEG and WebP"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """A checked folder; make one with `FolderSource.open`.

    Attributes:
        root: the folder.
        files: (relative path, class) of every image, sorted.
        group_pattern: regular expression searched in the relative path; its first group (or the whole match)
            names the sample's group. None: the group is left to the importer.
    """

    root: Path
    files: tuple[tuple[str, str], ...]
    ignored: tuple[SourceProblem, ...]
    station: str | None = None
    stage: Stage = Stage.FACTORY
    group_pattern: re.Pattern[str] | None = None

    @classmethod
    def open(
        cls,
        root: Path | str,
        *,
        station: str | None = None,
        stage: Stage = Stage.FACTORY,
        group_pattern: str | None = None,
    ) -> FolderSource:
        """Check the folder and list it; no image is read yet.

        Raises:
            SourceError: no such folder, no subfolder, a class with no or one image, a bad class name or pattern.
        """
        root = Path(root)
        if not root.is_dir():
            raise SourceError(
                f"{root}: no such folder. Name a folder that holds one subfolder for each class, "
                "for example parts/ok and parts/scratch."
            )
        folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        if not folders:
            raise SourceError(_no_subfolder(root))
        files: list[tuple[str, str]] = []
        ignored: list[SourceProblem] = []
        for folder in folders:
            name = _class_of(folder)
            images, left_out = _list_class(root, folder)
            if len(images) < 2:
                raise SourceError(_too_few(folder, images, left_out))
            files += [(path, name) for path in images]
            ignored += left_out
        return cls(
            root=root,
            files=tuple(sorted(files)),
            ignored=tuple(ignored),
            station=station,
            stage=stage,
            group_pattern=compile_group_pattern(group_pattern),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted."""
        return tuple(sorted({name for _, name in self.files}))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def __iter__(self) -> Iterator[SourceSample | SourceProblem]:
        """Read the images one by one, in the order of their paths."""
        for relative, name in self.files:
            path = self.root / relative
            data = read_image_file(path)
            if isinstance(data, str):
                yield SourceProblem(path=relative, reason=data)
                continue
            yield SourceSample(
                path=relative,
                image=data,
                media_type=media_type_of(path) or "",
                label=name,
                mark=mark_beside(path),
                group=group_by(self.group_pattern, relative),
                station=self.station,
                stage=self.stage,
            )


def compile_group_pattern(pattern: str | None) -> re.Pattern[str] | None:
    """Compile the pattern that finds a sample's group in its path.

    Raises:
        SourceError: not a regular expression.
    """
    if pattern is None:
        return None
    try:
        return re.compile(pattern)
    except re.error as error:
        raise SourceError(
            f"group pattern {pattern!r} is not a regular expression ({error}). "
            "Write one whose first group is the part or lot in the file's path, for example num_([0-9]+)."
        ) from error


def group_by(pattern: re.Pattern[str] | None, path: str) -> str | None:
    """The first group of the pattern's match in the path, the whole match if it has none, None without a match."""
    match = pattern.search(path) if pattern is not None else None
    if match is None:
        return None
    return str(match[1]) if match.re.groups and match[1] is not None else str(match[0])


def _class_of(folder: Path) -> str:
    try:
        return check_class_name(folder.name)
    except InvalidName as error:
        raise SourceError(f"{folder}: the folder's name cannot be a class name. {error}") from error


def _list_class(root: Path, folder: Path) -> tuple[list[str], list[SourceProblem]]:
    paths: list[Path] = []
    for directory, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        paths += [Path(directory) / name for name in names if not name.startswith(".")]
    images = {path for path in paths if media_type_of(path)}
    unmasked = {path.with_suffix("") for path in images}
    masks = {path for path in images if _masked(path) in unmasked}
    left_out = [
        SourceProblem(
            path=path.relative_to(root).as_posix(),
            reason="a mask, not a sample" if path in masks else f"not one of {_TAKEN}",
        )
        for path in sorted(paths)
        if path in masks or path not in images
    ]
    return sorted(path.relative_to(root).as_posix() for path in images - masks), left_out


def _masked(path: Path) -> Path | None:
    """The image (without suffix) that a file would be the mask of."""
    for ending in MARK_ENDINGS:
        if path.stem.endswith(ending):
            return path.with_name(path.stem.removesuffix(ending))
    return None


def _no_subfolder(root: Path) -> str:
    loose = sum(1 for path in root.iterdir() if path.is_file() and media_type_of(path))
    if loose:
        return (
            f"{root}: {loose} images lie in the folder itself, expected one subfolder for each class. "
            "Move them into subfolders named by class, for example ok and scratch."
        )
    return (
        f"{root}: the folder is empty, expected one subfolder for each class. "
        "Put the images there, for example in ok and scratch."
    )


def _too_few(folder: Path, images: list[str], left_out: list[SourceProblem]) -> str:
    if images:
        return (
            f"{folder}: class {folder.name!r} has one image ({images[0]}), expected at least two, so that one can be "
            "held out. Add images of this class, or take the folder away and add the class later from the line."
        )
    other = sorted({Path(item.path).suffix.lower() or "no suffix" for item in left_out})
    found = f"files of other formats only ({', '.join(other)})" if other else "no file"
    return (
        f"{folder}: class {folder.name!r} has {found}, expected {_TAKEN} images. Convert them, or take the folder away."
    )
