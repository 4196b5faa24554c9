"""Copying the bucket's objects into a store, each content once (rules 6 and 8 of the package)."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from edge_client.contract.bucket import Bucket, ObjectInfo
from edge_client.contract.errors import NotFound
from infra.backup.manifest import StoredObject
from infra.backup.store import OBJECTS, PROGRESS, BackupError, object_key

MOST_OBJECT_BYTES = 2 << 30
_THREADS = 4
_LARGE_BYTES = 32 << 20  # such a one is copied alone: memory stays within one large object, or four small ones
_NOTE_OBJECTS, _NOTE_BYTES = 256, 256 << 20

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """What one object took."""

    found: StoredObject | None  # None: it was gone
    read_bytes: int = 0
    written_bytes: int = 0


@dataclass(slots=True)
class Copier:
    """Copies objects from a bucket into a store, and remembers which.

    Args:
        known: Key -> what an earlier backup, or this one before it was killed, found of it.
    """

    source: Bucket
    store: Bucket
    known: dict[str, StoredObject]
    report: Report = lambda _: None
    taken: dict[str, StoredObject] = field(default_factory=dict)
    read_bytes: int = 0
    written_bytes: int = 0
    reused: int = 0
    _present: dict[str, int] = field(default_factory=dict)
    _unnoted: list[StoredObject] = field(default_factory=list)
    _unnoted_bytes: int = 0
    _notes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look_at_store(self) -> None:
        """Learn what the store has, once."""
        self._present = {info.key: info.bytes for info in self.store.list(OBJECTS)}
        notes = [info.key for info in self.store.list(PROGRESS)]
        self._notes = len(notes)

    def copy(self, prefix: str, *, leave_out: Callable[[str], bool] = lambda _: False) -> None:
        """Copy everything below a prefix; an object that vanishes meanwhile was ingested, and is left out."""
        wanted = (info for info in self.source.list(prefix) if not leave_out(info.key))
        for number, copied in enumerate(self._copied(wanted), 1):
            if copied.found is None:
                continue
            self._take(copied)
            if number % 1000 == 0:
                self.report(f"{prefix}: {number} objects")

    def note(self) -> None:
        """Write down what was copied since the last note."""
        if not self._unnoted:
            return
        self._notes += 1
        document = json.dumps([item.to_json() for item in self._unnoted], ensure_ascii=False)
        self.store.put(f"{PROGRESS}{self._notes:06d}.json", document.encode())
        self._unnoted, self._unnoted_bytes = [], 0

    def forget_notes(self) -> None:
        """The backup is finished: its manifest says all that the notes say."""
        for info in list(self.store.list(PROGRESS)):
            self.store.delete(info.key)

    def _take(self, copied: Copied) -> None:
        assert copied.found is not None
        self.taken[copied.found.key] = copied.found
        self.read_bytes += copied.read_bytes
        self.written_bytes += copied.written_bytes
        if not copied.read_bytes and copied.found.bytes:
            self.reused += 1
            return
        self._unnoted.append(copied.found)
        self._unnoted_bytes += copied.found.bytes
        if len(self._unnoted) >= _NOTE_OBJECTS or self._unnoted_bytes >= _NOTE_BYTES:
            self.note()

    def _copied(self, infos: Iterable[ObjectInfo]) -> Iterator[Copied]:
        with ThreadPoolExecutor(_THREADS) as pool:
            under_way: set[Future[Copied]] = set()
            for info in infos:
                if info.bytes > _LARGE_BYTES:
                    yield self._one(info)
                    continue
                under_way.add(pool.submit(self._one, info))
                if len(under_way) >= 2 * _THREADS:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            yield from (future.result() for future in under_way)

    def _one(self, info: ObjectInfo) -> Copied:
        known = self.known.get(info.key)
        if known is not None and (known.bytes, known.tag) == (info.bytes, tag_of(info)) and self._has(known):
            return Copied(known)
        if info.bytes > MOST_OBJECT_BYTES:
            raise BackupError(f"object {info.key!r} has {info.bytes} bytes: at most {MOST_OBJECT_BYTES} are backed up")
        try:
            data = self.source.get(info.key, max_bytes=MOST_OBJECT_BYTES)
        except NotFound:
            return Copied(None)
        digest = hashlib.sha256(data).hexdigest()
        # Changed since it was listed: without its tag the next backup reads it again.
        tag = tag_of(info) if len(data) == info.bytes else ""
        found = StoredObject(key=info.key, bytes=len(data), sha256=digest, tag=tag)
        if self._has(found):
            return Copied(found, len(data))
        self.store.put(object_key(digest), data)
        with self._lock:
            self._present[object_key(digest)] = len(data)
        return Copied(found, len(data), len(data))

    def _has(self, item: StoredObject) -> bool:
        with self._lock:
            return self._present.get(object_key(item.sha256)) == item.bytes


def tag_of(info: ObjectInfo) -> str:
    """What tells an object from a later one of the same key: the bucket's tag, else its time."""
    if info.etag:
        return info.etag
    return info.modified.isoformat() if info.modified else ""


def noted(store: Bucket) -> dict[str, StoredObject]:
    """What an unfinished backup had copied; a damaged note only means that something is read again."""
    found: dict[str, StoredObject] = {}
    for info in store.list(PROGRESS):
        try:
            document = json.loads(store.get(info.key, max_bytes=1 << 28))
            items = [StoredObject.from_json(item) for item in document]
        except (NotFound, ValueError, TypeError):
            continue
        found.update({item.key: item for item in items if item.tag})
    return found


def missing_from(store: Bucket, objects: Mapping[str, StoredObject]) -> list[str]:
    """Keys whose content the store does not have, by its listing."""
    present = {info.key: info.bytes for info in store.list(OBJECTS)}
    return [key for key, item in objects.items() if present.get(object_key(item.sha256)) != item.bytes]
