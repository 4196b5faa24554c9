"""Reading row groups of one immutable Parquet object in a bucket, by range reads through the disk cache.

The end of the object (all of it when it is small) is fetched once: it holds the footer. After that a row group costs
one range read, or none.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.disk_cache import DiskCache
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError, NotFound

_WHOLE_BYTES = 2 << 20
"""An object up to this size is fetched whole: a device's window is mostly below it, and people look at all of it."""
_TAIL_BYTES = 64 << 10
_MAGIC = b"PAR1"


class LakeError(AndonError):
    """A location in the lake does not hold what the catalog says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetObject:
    """An open object; make one with `ParquetObject.open`."""

    bucket: Bucket
    cache: DiskCache
    path: str
    size: int
    tail: bytes
    metadata: Any
    starts: tuple[int, ...]

    @classmethod
    def open(cls, bucket: Bucket, cache: DiskCache, path: str) -> ParquetObject:
        """Fetch the end of the object and read its footer.

        Raises:
            NotFound: no such object.
            ValueError, pyarrow.ArrowException: not a Parquet file.
        """
        key = f"{path}#tail"
        entry = cache.get(key)
        if entry is None:
            entry = _fetch_tail(bucket, path)
            cache.put(key, entry)
        size, tail = int.from_bytes(entry[:8], "big"), entry[8:]
        metadata = pq.read_metadata(pa.PythonFile(_Window(path, size, ((size - len(tail), tail),)), mode="r"))
        starts, row = [], 0
        for number in range(metadata.num_row_groups):
            starts.append(row)
            row += metadata.row_group(number).num_rows
        return cls(bucket=bucket, cache=cache, path=path, size=size, tail=tail, metadata=metadata, starts=tuple(starts))

    def group_of(self, row: int) -> tuple[int, int]:
        """The row group that holds a row, and the row's place in it.

        Raises:
            LakeError: beyond the end.
        """
        if not 0 <= row < self.metadata.num_rows:
            raise LakeError(f"{self.path} has no row {row}: it has {self.metadata.num_rows}")
        number = bisect.bisect_right(self.starts, row) - 1
        return number, row - self.starts[number]

    def read_group(self, number: int) -> Any:
        """One row group as a pyarrow table."""
        columns = [self.metadata.row_group(number).column(i) for i in range(self.metadata.num_columns)]
        start = min(c.dictionary_page_offset or c.data_page_offset for c in columns)
        length = sum(c.total_compressed_size for c in columns)
        segments: tuple[tuple[int, bytes], ...] = ((self.size - len(self.tail), self.tail),)
        if start < self.size - len(self.tail):
            segments = ((start, self._segment(start, length)), *segments)
        file = pq.ParquetFile(
            pa.PythonFile(_Window(self.path, self.size, segments), mode="r"), metadata=self.metadata, pre_buffer=False
        )
        return file.read_row_group(number, use_threads=False)

    def _segment(self, start: int, length: int) -> bytes:
        key = f"{self.path}#{start}+{length}"
        data = self.cache.get(key)
        if data is None:
            data = self.bucket.get_range(self.path, start, length)
            self.cache.put(key, data)
        return data


def _fetch_tail(bucket: Bucket, path: str) -> bytes:
    """8 bytes of object size, then the object's last bytes with at least the whole footer in them."""
    info = bucket.head(path)
    if info is None:
        raise NotFound(f"the bucket has no object {path!r}")
    length = info.bytes if info.bytes <= _WHOLE_BYTES else _TAIL_BYTES
    tail = bucket.get_range(path, info.bytes - length, length)
    if tail[-4:] != _MAGIC or len(tail) != length:
        raise ValueError("the Parquet magic is missing at its end")
    footer = int.from_bytes(tail[-8:-4], "little") + 8
    if footer > info.bytes:
        raise ValueError(f"its footer claims {footer} of {info.bytes} bytes")
    if footer > length:
        tail = bucket.get_range(path, info.bytes - footer, footer)
    return info.bytes.to_bytes(8, "big") + tail


class _Window:
    """A file of which only some stretches are there; enough of Python's file interface for pyarrow."""

    def __init__(self, name: str, size: int, segments: tuple[tuple[int, bytes], ...]) -> None:
        self._name, self._size, self._segments, self._at = name, size, segments, 0
        self.closed = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def flush(self) -> None:
        """Nothing to flush."""

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        origin = {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._size}[whence]
        self._at = origin + offset
        return self._at

    def read(self, length: int = -1) -> bytes:
        start = self._at
        end = self._size if length < 0 else min(self._size, start + length)
        for first, data in self._segments:
            if first <= start and end <= first + len(data):
                self._at = end
                return data[start - first : end - first]
        raise OSError(f"{self._name}: bytes {start} to {end} are outside of what was fetched")
