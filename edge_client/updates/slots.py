"""Two engine slots on disk.

1. A slot is a folder with ``engine.onnx`` and ``selftest.npz``; what should be in it is in the state, with its digest.
2. Files are written beside their place, synced, renamed, and the folder is synced: after a power cut a slot holds the
   old file, the new one or none, and the digest tells which.
3. An engine is read once, into memory, and its digest is checked on those bytes: nobody can exchange the file between
   the check and the load.
4. Links are refused, in the folders as in the files: a slot can't be pointed elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edge_client.contract.errors import AndonError
from edge_client.updates.rules import Installed, Place

ENGINE_FILE = "engine.onnx"
SELFTEST_FILE = "selftest.npz"
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


class DamagedSlot(AndonError):
    """A slot does not hold what was stored in it. A matter of the disk, not of the engine."""


class Slots:
    """The slots under one folder.

    Args:
        folder: Holds ``slot-a`` and ``slot-b``; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path in (folder, self.path(Place.A), self.path(Place.B)):
            make_durable_folder(path)

    def path(self, place: Place) -> Path:
        """The folder of a slot."""
        if place is Place.FACTORY:
            raise AssertionError("the factory engine is no slot")
        return self.folder / f"slot-{place.value}"

    def write(self, place: Place, engine: Path, selftest: bytes) -> None:
        """Put a verified engine and its self-test into a slot.

        Args:
            place: The slot; what it holds is replaced.
            engine: A synced file on the same filesystem; it is moved.
            selftest: The self-test's bytes.

        Raises:
            DamagedSlot: The slot's folder is a link or no folder.
            OSError: The disk failed or is full.
        """
        with self._opened(place) as folder:
            _write_file(folder, SELFTEST_FILE, selftest)
            os.rename(engine, ENGINE_FILE, dst_dir_fd=folder)
            os.fsync(folder)

    def read(self, place: Place, expected: Installed) -> bytes:
        """Return the engine of a slot, checked against the digest in the state.

        Raises:
            DamagedSlot: Missing, a link, of another length or digest.
        """
        with self._opened(place) as folder:
            data = _read_file(folder, self.path(place), ENGINE_FILE, expected.engine_bytes)
        digest = hashlib.sha256(data).hexdigest()
        if digest != expected.engine_sha256:
            raise DamagedSlot(
                f"{self.path(place) / ENGINE_FILE} has digest {digest[:16]}…: expected {expected.engine_sha256[:16]}…; "
                "the slot is emptied and the engine fetched again"
            )
        return data

    def empty(self, place: Place) -> None:
        """Remove what a slot holds.

        Raises:
            DamagedSlot: The slot's folder is a link or no folder.
        """
        with self._opened(place) as folder:
            for name in os.listdir(folder):  # noqa: PTH208 - by descriptor, so that a link can't come between
                os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    @contextlib.contextmanager
    def _opened(self, place: Place) -> Iterator[int]:
        path = self.path(place)
        try:
            descriptor = os.open(path, _FOLDER)
        except OSError as error:
            kind = "a link" if path.is_symlink() else f"not usable ({error.strerror})"
            raise DamagedSlot(
                f"engine slot {path} is {kind}: expected a plain folder; remove it and start again"
            ) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def make_durable_folder(path: Path) -> None:
    """Make a folder and those above it, each durably in the one above; nothing if it is there."""
    if path.exists() or path.is_symlink():
        return
    make_durable_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    _sync(path.parent, os.O_RDONLY)


def open_plain_folder(path: Path) -> int:
    """Open a folder that is no link, making it when missing.

    Raises:
        DamagedSlot: It is a link or something else.
    """
    make_durable_folder(path)
    try:
        return os.open(path, _FOLDER)
    except OSError as error:
        raise DamagedSlot(
            f"{path} is a link or no folder: expected a plain folder; remove it and start again"
        ) from error


def sync_tree(path: Path) -> None:
    """Sync every plain file and folder under `path`."""
    for folder, _, names in os.walk(path):
        for file in (Path(folder) / name for name in names):
            with contextlib.suppress(FileNotFoundError):
                if not file.is_symlink():
                    _sync(file, _READ)
        _sync(Path(folder), _FOLDER)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_file(folder: int, name: str, data: bytes) -> None:
    temporary = f".{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    descriptor = os.open(temporary, _WRITE, 0o600, dir_fd=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _read_file(folder: int, path: Path, name: str, length: int) -> bytes:
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except OSError as error:
        raise DamagedSlot(
            f"{path / name} cannot be opened ({error.strerror}): expected a plain file, no link"
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size != length:
            raise DamagedSlot(f"{path / name} has {found.st_size} bytes: expected a plain file of {length}")
        try:
            return file.read(length)
        except OSError as error:
            raise DamagedSlot(f"{path / name} cannot be read: {error}") from error
