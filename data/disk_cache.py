"""A bounded cache on the local disk for bytes that can be had again.

1. Entries are immutable: a key always stands for the same bytes. Several processes may share the folder.
2. An entry is written under another name and renamed; a checksum in front makes a torn one (power loss) a miss.
3. Above its bound the entries used longest ago go, down to nine tenths of it.
4. The cache never fails its caller: a full or read-only disk makes it smaller or empty.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import zlib
from pathlib import Path

_HEADER_BYTES = 4
_CHECK_EVERY = 32 << 20
"""The folder is measured after so many bytes were added (and at the first write): listing is slower."""


class DiskCache:
    """Bytes by key, in a folder.

    Args:
        folder: made when first written to.
        most_bytes: the bound; passed by at most 32 MiB.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._unmeasured = _CHECK_EVERY
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The entry, or None when it is not there or damaged."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        content = data[_HEADER_BYTES:]
        if len(data) < _HEADER_BYTES or int.from_bytes(data[:_HEADER_BYTES], "big") != zlib.crc32(content):
            return None
        return content

    def put(self, key: str, content: bytes) -> None:
        """Keep the entry, if the disk allows it."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(zlib.crc32(content).to_bytes(_HEADER_BYTES, "big"))
                    file.write(content)
                os.replace(name, path)
            except OSError:
                Path(name).unlink()
                raise
        except OSError:
            return  # rule 4
        with self._lock:
            self._unmeasured += len(content)
            if self._unmeasured < _CHECK_EVERY:
                return
            self._unmeasured = 0
        self._trim()

    def _path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / digest[:2] / digest[2:]

    def _trim(self) -> None:
        entries: list[tuple[float, int, Path]] = []
        for directory, _, names in os.walk(self._folder):
            for name in names:
                path = Path(directory, name)
                try:
                    stat = path.stat()
                except OSError:  # another process trimmed it
                    continue
                entries.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in entries)
        if total <= self._most_bytes:
            return
        for _, size, path in sorted(entries):
            if total <= self._most_bytes * 9 // 10:
                return
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue
            total -= size
