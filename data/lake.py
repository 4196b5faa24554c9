"""The lake: images with their embeddings and anomaly maps, as Parquet files in the bucket.

1. `lake/<inspection>/images/<day>/<content hash>.parquet`. The hash is of the rows, not of the file: appending the
   same rows again gives the same path, and an object that is there is not written again.
2. Files are immutable and small (at most 256 rows or about 16 MiB), row groups smaller (16 rows or about 1 MiB), so
   that one image costs one short range read, cached on the local disk, and its neighbours cost none.
3. A location is (path, row), and stays valid for ever; the catalog holds it.
4. `lake/<inspection>/marks/<sha256 of the image>.png`: which pixels of a defect's frame are the defect. Few have one.
5. Any Parquet reader can read the files. Columns: sample_id, image (as it was encoded), media_type, embedding
   (list of half floats, or null), anomaly_map (the same, row-major), map_height, map_width.
6. Embeddings are compared within one space only. `lake/<inspection>/spaces/<engine id>` names the space of an engine's;
   engines of which nothing is noted, as before there was a choice, share one.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.arrow_columns import blobs, half_lists, texts, whole_numbers
from data.disk_cache import DiskCache
from data.parquet_object import LakeError, ParquetObject
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import NotFound
from edge_client.contract.names import check_name

FILE_ROWS, FILE_BYTES = 256, 16 << 20
_GROUP_ROWS, _GROUP_BYTES = 16, 1 << 20
_MOST_TABLE_BYTES = 2 << 30
_MOST_MARK_BYTES = 64 << 20
_SPACE_BYTES = 1024
_OPEN_FILES, _OPEN_GROUPS = 64, 4  # footers and decoded row groups kept in memory: about 10 MiB together

_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("image", pa.binary()),
        ("media_type", pa.string()),
        ("embedding", pa.list_(pa.float16())),
        ("anomaly_map", pa.list_(pa.float16())),
        ("map_height", pa.int32()),
        ("map_width", pa.int32()),
    ]
)


__all__ = ["Lake", "LakeError", "LakeLocation", "LakeRow", "StoredImage"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LakeRow:
    """One image to be appended.

    Attributes:
        embedding: float16 [D], or None.
        anomaly_map: float16 [h, w], or None; an empty one counts as None.
    """

    sample_id: str
    image: bytes
    media_type: str
    embedding: NDArray[np.float16] | None = None
    anomaly_map: NDArray[np.float16] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeLocation:
    """Where an image is."""

    path: str
    row: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredImage:
    """What the lake holds at a location; see `LakeRow`."""

    sample_id: str
    image: bytes
    media_type: str
    embedding: NDArray[np.float16] | None
    anomaly_map: NDArray[np.float16] | None


class Lake:
    """Images and tables in the bucket, cached on this disk. Safe to share between threads.

    Args:
        bucket: the bucket.
        cache_dir: folder of the cache; may be shared with other processes and deleted at any time.
        cache_bytes: bound of the cache.
    """

    def __init__(self, bucket: Bucket, cache_dir: Path, *, cache_bytes: int = 4 << 30) -> None:
        self._bucket = bucket
        self._cache = DiskCache(Path(cache_dir), cache_bytes)
        self._files: OrderedDict[str, ParquetObject] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._spaces: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def append(self, inspection: str, day: date, rows: Sequence[LakeRow]) -> list[LakeLocation]:
        """Store rows; their locations in the same order.

        Bounded by the caller: all rows are in memory at once. They are split into files by rule 2.
        """
        check_name(inspection, "inspection")
        locations: list[LakeLocation] = []
        for part in _parts(rows, FILE_ROWS, FILE_BYTES):
            path = f"lake/{inspection}/images/{day.isoformat()}/{_content_hash(part)}.parquet"
            if self._bucket.head(path) is None:
                self._bucket.put(path, _to_parquet(part), content_type="application/vnd.apache.parquet")
            locations += [LakeLocation(path=path, row=row) for row in range(len(part))]
        return locations

    def image(self, path: str, row: int) -> tuple[bytes, str]:
        """The encoded image at a location, and its media type.

        Raises:
            LakeError: there is no such row.
            BucketError: the bucket is away or has no such file.
        """
        group, offset = self._group(path, row)
        return group["image"][offset].as_py(), group["media_type"][offset].as_py()

    def images(self, locations: Iterable[tuple[str, int]]) -> Iterator[tuple[bytes, str]]:
        """The images at many locations, in their order. Sorted locations are read fastest."""
        for path, row in locations:
            yield self.image(path, row)

    def stored(self, path: str, row: int) -> StoredImage:
        """Everything at a location."""
        group, offset = self._group(path, row)
        image, media_type = group["image"][offset].as_py(), group["media_type"][offset].as_py()
        return StoredImage(
            sample_id=group["sample_id"][offset].as_py(),
            image=image,
            media_type=media_type,
            embedding=_vector(group["embedding"][offset]),
            anomaly_map=_map(group, offset),
        )

    def embedding(self, path: str, row: int) -> NDArray[np.float16] | None:
        """float16 [D] as the engine gave it at capture; None for an import."""
        group, offset = self._group(path, row)
        return _vector(group["embedding"][offset])

    def note_space(self, inspection: str, engine_id: str, embedding_id: str) -> None:
        """Note in which space an engine's embeddings are, before it is registered: before there can be any of them."""
        self._bucket.put(_space_path(inspection, engine_id), embedding_id.encode())

    def space_of(self, inspection: str, engine_id: str | None) -> str:
        """The embedding id of an engine; "" where nothing is noted.

        Raises:
            BucketError: the bucket is away.
        """
        key = (inspection, engine_id or "")
        if engine_id and key not in self._spaces:
            try:
                found = self._bucket.get(_space_path(inspection, engine_id), max_bytes=_SPACE_BYTES).decode()
            except NotFound:
                found = ""
            self._spaces[key] = found
        return self._spaces.get(key, "")

    def anomaly_map(self, path: str, row: int) -> NDArray[np.float16] | None:
        """float16 [h, w] as the engine gave it at capture; None for an import."""
        return _map(*self._group(path, row))

    def put_mark(self, inspection: str, image_sha256: str, mark: bytes) -> None:
        """Store which pixels of an image are the defect: PNG, bright where they are; a later one takes its place."""
        self._bucket.put(self.mark_key(inspection, image_sha256), mark, content_type="image/png")

    def marked(self, inspection: str) -> set[str]:
        """SHA-256 of the images that have a mark."""
        prefix = _marks(inspection)
        return {found.key.removeprefix(prefix).removesuffix(".png") for found in self._bucket.list(prefix)}

    def mark(self, inspection: str, image_sha256: str) -> bytes:
        """The mark of an image, as `put_mark` stored it.

        Raises:
            NotFound: it has none.
        """
        return self._bucket.get(self.mark_key(inspection, image_sha256), max_bytes=_MOST_MARK_BYTES)

    def put_table(self, path: str, table: pa.Table) -> None:
        """Store a whole table (a snapshot) at a path below `lake/`. The path must stand for its content."""
        buffer = BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        self._bucket.put(_below_lake(path), buffer.getvalue(), content_type="application/vnd.apache.parquet")

    def get_table(self, path: str) -> pa.Table:
        """Read a whole table that `put_table` stored.

        Raises:
            NotFound: there is none.
            LakeError: it is not a Parquet file.
        """
        data = self._cache.get(_below_lake(path))
        if data is None:
            data = self._bucket.get(path, max_bytes=_MOST_TABLE_BYTES)
            self._cache.put(path, data)
        try:
            return pq.read_table(pa.BufferReader(data))
        except pa.ArrowException as error:
            raise LakeError(
                f"{path}: not a readable Parquet file ({error}); restore it from the bucket's backup"
            ) from error

    def read_table(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table as the bucket has it now, whatever the cache says; see `get_table`."""
        data = self._bucket.get(_below_lake(path), max_bytes=_MOST_TABLE_BYTES)
        return pq.read_table(pa.BufferReader(data), columns=None if columns is None else list(columns))

    def read_file(self, path: str) -> list[StoredImage]:
        """Read every row of a file of images, past the cache."""
        table = self.read_table(path)
        return [
            StoredImage(
                sample_id=table["sample_id"][row].as_py(),
                image=table["image"][row].as_py(),
                media_type=table["media_type"][row].as_py(),
                embedding=_vector(table["embedding"][row]),
                anomaly_map=_map(table, row),
            )
            for row in range(table.num_rows)
        ]

    def mark_key(self, inspection: str, image_sha256: str) -> str:
        """Where `put_mark` stores a mark."""
        return f"{_marks(inspection)}{image_sha256}.png"

    def has(self, path: str) -> bool:
        """Whether a file is there."""
        return self._bucket.head(_below_lake(path)) is not None

    def _group(self, path: str, row: int) -> tuple[Any, int]:
        """The decoded row group that holds a row, and the row's place in it."""
        file = self._file(path)
        number, offset = file.group_of(row)
        with self._lock:
            if (path, number) in self._groups:
                self._groups.move_to_end((path, number))
                return self._groups[path, number], offset
        group = file.read_group(number)
        with self._lock:
            self._groups[path, number] = group
            while len(self._groups) > _OPEN_GROUPS:
                self._groups.popitem(last=False)
        return group, offset

    def _file(self, path: str) -> ParquetObject:
        with self._lock:
            if path in self._files:
                self._files.move_to_end(path)
                return self._files[path]
        try:
            file = ParquetObject.open(self._bucket, self._cache, _below_lake(path))
        except (pa.ArrowException, ValueError) as error:
            raise LakeError(
                f"{path}: not a readable Parquet file ({error}); restore it from the bucket's backup"
            ) from error
        with self._lock:
            self._files[path] = file
            while len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)
        return file


def _marks(inspection: str) -> str:
    return f"lake/{check_name(inspection, 'inspection')}/marks/"


def _space_path(inspection: str, engine_id: str) -> str:
    return f"lake/{check_name(inspection, 'inspection')}/spaces/{engine_id}"


def _below_lake(path: str) -> str:
    if not path.startswith("lake/") or ".." in path:
        raise LakeError(f"{path!r} is not a path of the lake; expected one below lake/")
    return path


def _parts(rows: Sequence[LakeRow], most_rows: int, most_bytes: int) -> Iterator[Sequence[LakeRow]]:
    """Cut rows into runs within both bounds; a row above the bytes alone is a run of its own."""
    start, size = 0, 0
    for index, row in enumerate(rows):
        if index > start and (index - start >= most_rows or size + len(row.image) > most_bytes):
            yield rows[start:index]
            start, size = index, 0
        size += len(row.image)
    if start < len(rows):
        yield rows[start:]


def _content_hash(rows: Sequence[LakeRow]) -> str:
    digest = hashlib.sha256(f"andon lake 1 {_GROUP_ROWS} {_GROUP_BYTES}".encode())
    for row in rows:
        for part in (
            row.sample_id.encode(),
            row.media_type.encode(),
            row.image,
            b"" if row.embedding is None else row.embedding.astype("<f2").tobytes(),
            b"" if row.anomaly_map is None else f"{row.anomaly_map.shape}".encode(),
            b"" if row.anomaly_map is None else row.anomaly_map.astype("<f2").tobytes(),
        ):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]


def _to_parquet(rows: Sequence[LakeRow]) -> bytes:
    buffer = BytesIO()
    writer = pq.ParquetWriter(
        buffer,
        _SCHEMA,
        compression={name: "none" if name == "image" else "zstd" for name in _SCHEMA.names},
        use_dictionary=False,
        write_statistics=False,  # nobody asks for the smallest image
    )
    with writer:
        for part in _parts(rows, _GROUP_ROWS, _GROUP_BYTES):
            writer.write_table(_to_table(part), row_group_size=len(part))
    return buffer.getvalue()


def _to_table(rows: Sequence[LakeRow]) -> pa.Table:
    maps = [row.anomaly_map if row.anomaly_map is not None and row.anomaly_map.size else None for row in rows]
    embeddings = [row.embedding if row.embedding is not None and row.embedding.size else None for row in rows]
    columns = [
        texts([row.sample_id for row in rows]),
        blobs([row.image for row in rows]),
        texts([row.media_type for row in rows]),
        half_lists(embeddings),
        half_lists(maps),
        whole_numbers([None if m is None else m.shape[0] for m in maps]),
        whole_numbers([None if m is None else m.shape[1] for m in maps]),
    ]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _vector(value: Any) -> NDArray[np.float16] | None:
    if not value.is_valid:
        return None
    vector: NDArray[np.float16] = np.asarray(value.values.to_numpy(zero_copy_only=False), dtype=np.float16)
    return vector


def _map(group: Any, offset: int) -> NDArray[np.float16] | None:
    vector = _vector(group["anomaly_map"][offset])
    if vector is None:
        return None
    return vector.reshape(group["map_height"][offset].as_py(), group["map_width"][offset].as_py())
