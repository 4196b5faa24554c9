"""What a disk holds after a cut, from the journal of all changes that a process made (`shim.c`).

Three ways to be cut after the n-th change: *killed* (the process dies, the system lives: every change is there), *torn*
(killed in the middle of its last write) and *dark* (the power goes: a file has what it had at its last fsync, a name is
there if its folder was fsynced after, and of the changes since then any part may have arrived).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

Held = bytes | str | None
"""What a name stands for: a file's bytes, a link's target, or a folder (None)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the journal; a note is what the process said in between."""

    operation: str
    number: int
    path: str
    data: bytes

    @property
    def note(self) -> dict[str, Any] | None:
        """What was said, if this is a note."""
        return json.loads(self.data) if self.operation == "note" else None


def read_journal(path: Path) -> list[Change]:
    """Read all entries."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        end = data.index(b"\n", at)
        operation, number, length, name = data[at:end].decode().split(" ", 3)
        at = end + 1
        found.append(Change(operation, int(number), name, data[at : at + int(length)]))
        at += int(length)
    return found


@dataclass(slots=True)
class _File:
    now: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    since: list[Change] = field(default_factory=list)
    link: str | None = None


class Disk:
    """Files and folders below `root`, as they are and as they would be found after a power cut."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._names: dict[str, _File | None] = {}  # None is a folder
        self._durable: dict[str, _File | None] = {}

    def apply(self, change: Change) -> None:
        """Follow one change."""
        path, names = change.path, self._names
        match change.operation:
            case "create":  # also empties
                names.setdefault(path, _File())
                self._alter(path, Change("truncate", 0, path, b""))
            case "write" | "truncate":
                self._alter(path, change)
            case "sync":
                file = names.get(path)
                if file is not None:
                    file.synced, file.since = bytes(file.now), []
                else:
                    self._sync_folder(path)
            case "symlink":
                names[path] = _File(link=change.data.decode())
            case "mkdir":
                names[path] = None
            case "unlink" | "rmdir":
                names.pop(path, None)
            case "rename":
                target = change.data.decode()
                for name in [n for n in names if n == path or n.startswith(f"{path}/")]:
                    names[target + name.removeprefix(path)] = names.pop(name)
            case "note":
                pass
            case other:
                raise AssertionError(f"the journal has an unknown operation {other!r}")

    def killed(self) -> dict[str, Held]:
        """What is there when only the process died."""
        return {name: None if file is None else file.link or bytes(file.now) for name, file in self._names.items()}

    def torn(self, last: Change) -> dict[str, Held]:
        """The same, but only half of the last write (which was not yet applied) arrived."""
        image = self.killed()
        held = image.get(last.path)
        if isinstance(held, bytes):
            image[last.path] = _altered(held, Change("write", last.number, last.path, last.data[: len(last.data) // 2]))
        return image

    def dark(self, random: Random | None) -> dict[str, Held]:
        """What is there after the power went; without `random` nothing that was not synced arrived."""
        names = dict(self._durable)
        if random is not None:
            for name in sorted({*self._names, *self._durable}):
                if self._names.get(name) is not self._durable.get(name) and random.random() < 0.5:
                    if name in self._names:
                        names[name] = self._names[name]
                    else:
                        names.pop(name)
        image: dict[str, Held] = {}
        for name, file in names.items():
            if file is None or file.link is not None:
                image[name] = None if file is None else file.link
                continue
            held = file.synced
            for change in file.since:
                if random is not None and random.random() < 0.5:
                    held = _altered(held, change)
            image[name] = held
        return image

    def _alter(self, path: str, change: Change) -> None:
        file = self._names[path]
        assert file is not None, f"{path} is a folder"
        file.now = bytearray(_altered(bytes(file.now), change)) if change.operation == "truncate" else file.now
        if change.operation == "write":
            _write(file.now, change)
        file.since.append(change)

    def _sync_folder(self, folder: str) -> None:
        def inside(name: str) -> bool:
            return name.rpartition("/")[0] == folder

        for name in [n for n in self._durable if inside(n) and n not in self._names]:
            gone = [n for n in self._durable if n == name or n.startswith(f"{name}/")]
            for one in gone:
                del self._durable[one]
        for name, file in self._names.items():
            if inside(name):
                self._durable[name] = file


def _write(held: bytearray, change: Change) -> None:
    end = change.number + len(change.data)
    if len(held) < change.number:
        held.extend(bytes(change.number - len(held)))
    held[change.number : end] = change.data


def _altered(held: bytes, change: Change) -> bytes:
    new = bytearray(held)
    if change.operation == "truncate":
        del new[change.number :]
        new.extend(bytes(change.number - len(new)))
    else:
        _write(new, change)
    return bytes(new)


def write_image(image: dict[str, Held], root: str, folder: Path) -> None:
    """Make an image's files below `folder`, in place of `root`. Names whose folder did not survive are lost."""
    folders = {name for name, data in image.items() if data is None} | {root}
    for name in sorted(image):
        if not all(parent in folders for parent in _parents(name, root)):
            continue
        path = folder / name.removeprefix(root).lstrip("/")
        data = image[name]
        if data is None:
            path.mkdir(exist_ok=True)
        elif isinstance(data, str):
            os.symlink(data, path)
        else:
            path.write_bytes(data)


def _parents(name: str, root: str) -> Iterator[str]:
    while len(name) > len(root):
        name = name.rpartition("/")[0]
        if len(name) > len(root):
            yield name
