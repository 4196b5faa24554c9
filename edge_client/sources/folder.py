"""Frames from a folder: once, in a loop, or as new files arrive.

1. Files go in name order; a name that begins with a dot, or ends in anything but an image suffix, is not one.
2. A file may have a side file ``<image>.json`` (or the same stem): ``{"part_id": …, "context": {…}}``. What it does
   not tell comes from the file's name: by a pattern, else the stem is the part id.
3. Following, a file that can't be read yet is tried again: it may still be being written.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from edge_client.contract.errors import ConfigError
from edge_client.sources.frame import PartOf, SourceFrame
from edge_client.sources.part_pattern import stem

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_TRIES = 20  # of a file that is no image yet, once every pass


class Folder:
    """Image files of a folder, each once.

    Args:
        path: The folder.
        consume: Remove a file, and its side file, once it is done.

    Raises:
        ConfigError: It is not a folder.
    """

    def __init__(self, path: Path, *, consume: bool = False) -> None:
        if not path.is_dir():
            raise ConfigError(f"{path} is not a folder: expected a folder with PNG, JPEG or WebP files")
        self.path = path
        self._consume = consume
        self._done: set[str] = set()
        self._tries: dict[str, int] = {}

    def new_files(self) -> list[Path]:
        """Return the files that were not done yet, in name order."""
        with os.scandir(self.path) as entries:
            names = [
                e.name
                for e in entries
                if e.name not in self._done
                and not e.name.startswith(".")
                and e.name.lower().endswith(SUFFIXES)
                and e.is_file()
            ]
        return [self.path / name for name in sorted(names)]

    def done(self, path: Path, *, refused: bool = False) -> None:
        """Note that a file was answered, or given up."""
        self._tries.pop(path.name, None)
        if not self._consume:
            self._done.add(path.name)
            return
        for side in _sides(path):
            side.unlink(missing_ok=True)
        if refused:
            path.rename(path.with_name(f".refused-{path.name}"))
        else:
            path.unlink(missing_ok=True)

    def try_later(self, path: Path) -> bool:
        """Note that a file could not be used; False when it was tried often enough."""
        self._tries[path.name] = self._tries.get(path.name, 0) + 1
        return self._tries[path.name] < _TRIES

    def again(self) -> None:
        """Forget what was done: the next round."""
        self._done.clear()


def read_frame(path: Path, part_of: PartOf = stem) -> SourceFrame:
    """Read a file and its side file.

    Raises:
        OSError: It cannot be read.
    """
    part_id, context = None, {}
    for side in _sides(path):
        if side.is_file():
            try:
                told = json.loads(side.read_text())
                part_id = str(told["part_id"])[:256] if "part_id" in told else None
                context = {str(k): v for k, v in told.get("context", {}).items()}
            except (OSError, ValueError, AttributeError, TypeError):
                pass  # a side file that is no JSON object tells nothing
            break
    frame = SourceFrame(name=path.name, image=path.read_bytes(), part_id=part_id, context=context)
    return frame.of(part_of(frame))


def folder_frames(path: Path, part_of: PartOf = stem) -> Iterator[SourceFrame]:
    """Yield the images that a folder holds now, in name order, once.

    Raises:
        ConfigError: It is not a folder.
        OSError: A file cannot be read.
    """
    for file in Folder(path).new_files():
        yield read_frame(file, part_of)


def _sides(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + ".json"), path.with_suffix(".json")


def reference_frames(path: Path) -> Iterator[SourceFrame]:
    """Yield a folder's images for ever.

    Raises:
        ConfigError: It is not a folder, or holds no image.
    """
    files = Folder(path).new_files()
    if not files:
        raise ConfigError(f"{path} holds no image: expected PNG, JPEG or WebP files")
    frames = [read_frame(p) for p in files]
    while True:
        yield from frames
