"""Copying the signed releases to a folder: a mirror on the local network, or a USB stick.

1. No listing is needed: what there is stands in the metadata. A device's own credentials are enough.
2. What is copied is held against the digests in the metadata, so that a damaged object is noticed here and not on every
   device. Nothing else is verified: a mirror is a cache, and whoever reads it checks the signatures.
3. Files come first, then the metadata that names them, and ``timestamp.json`` last: a copy that was cut is the old
   mirror with some files more.
4. A file that is there with the right digest is not fetched again. Files that nothing names any more are removed, last.
5. By default only engines that some channel names are copied, with their self-tests and lists of chunks; everything
   that is signed online comes along (channels, settings).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge_client.contract.bucket import Bucket, DirectoryBucket
from edge_client.contract.engine_keys import KEYS_PREFIX, MAX_KEYS_BYTES, Sealing
from edge_client.contract.errors import BadRelease, NotFound
from edge_client.contract.foreign_json import read_json
from edge_client.contract.releases import MAX_METADATA_BYTES, METADATA_PREFIX, TARGETS_PREFIX

_MAX_ROOTS = 1024
_PIECE_BYTES = 1 << 20
_ENGINES, _ROLLOUTS = "engines", "rollouts"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorReport:
    """What a copy came to.

    Attributes:
        timestamp: Version of the timestamp that is mirrored now.
        files: Files that the mirror holds.
        bytes: Their bytes.
        fetched_bytes: What was fetched for it this time.
        removed: Files that nothing names any more.
    """

    timestamp: int
    files: int
    bytes: int
    fetched_bytes: int
    removed: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def mirror_releases(
    source: Bucket,
    target: DirectoryBucket,
    *,
    everything: bool = False,
    inspections: Collection[str] = (),
    engine_keys: bool = False,
    rest: Callable[[int], None] = lambda count: None,
) -> MirrorReport:
    """Copy the releases in force.

    Args:
        source: Where they are.
        target: The folder that gets them; the mirror that is there is brought up to date.
        everything: All approved files, not only those that a channel names.
        inspections: Engines and channels of these alone; empty for all.
        engine_keys: The keys of sealed engines too, for every device; the source has to list them.
        rest: Called with the bytes of each piece that was fetched; may rest to keep to a rate.

    Raises:
        BadRelease: The metadata can't be read, or a file is not what it names.
        BucketError: As source or target say.
    """
    copy = _Copy(source, target, rest)
    if engine_keys:
        copy.engine_keys()
    return copy.run(everything, frozenset(inspections))


class _Copy:
    def __init__(self, source: Bucket, target: DirectoryBucket, rest: Callable[[int], None]) -> None:
        self._source = source
        self._target = target
        self._rest = rest
        self._fetched = 0
        self._kept: dict[str, int] = {}

    def run(self, everything: bool, inspections: frozenset[str]) -> MirrorReport:
        timestamp_bytes = self._get(f"{METADATA_PREFIX}timestamp.json", MAX_METADATA_BYTES)
        timestamp = _signed(timestamp_bytes, "timestamp")
        metadata: dict[str, bytes] = {}
        snapshot = self._named(timestamp, "snapshot", metadata)
        roles = {role: self._named(snapshot, role, metadata) for role in ("targets", _ENGINES, _ROLLOUTS)}
        online = {p: f for p, f in _targets(roles[_ROLLOUTS]) if _wanted(p, inspections)}
        for path, file in online.items():
            self._copy(path, file)
        documents = b"\0".join(self._read(path, file) for path, file in online.items())
        for path, file in _targets(roles[_ENGINES]):
            if _wanted(path, inspections) and (everything or _is_named(path, documents)):
                self._copy(path, file)
        for name, data in [*self._roots(), *metadata.items()]:
            self._put(f"{METADATA_PREFIX}{name}", data)
        self._put(f"{METADATA_PREFIX}timestamp.json", timestamp_bytes)
        return MirrorReport(
            timestamp=_version(timestamp),
            files=len(self._kept),
            bytes=sum(self._kept.values()),
            fetched_bytes=self._fetched,
            removed=self._prune(),
        )

    def engine_keys(self) -> None:
        """Copy what each device opens sealed engines with; it is sealed to that device."""
        for info in self._source.list(KEYS_PREFIX):
            self._put(info.key, self._get(info.key, MAX_KEYS_BYTES))

    def _named(self, above: Mapping[str, Any], role: str, metadata: dict[str, bytes]) -> Mapping[str, Any]:
        """Fetch a role's metadata as the one above names it."""
        meta = _entry(above, f"{role}.json")
        name = f"{_whole(meta, 'version')}.{role}.json"
        data = self._get(f"{METADATA_PREFIX}{name}", MAX_METADATA_BYTES)
        expected = meta.get("hashes", {}).get("sha256")
        if expected is not None and hashlib.sha256(data).hexdigest() != expected:
            raise BadRelease(
                f"metadata {name!r} is not what the one above it names: try again, a release may be going on"
            )
        metadata[name] = data
        return _signed(data, role)

    def _roots(self) -> Iterator[tuple[str, bytes]]:
        for version in range(1, _MAX_ROOTS):
            name = f"{version}.root.json"
            try:
                yield name, self._get(f"{METADATA_PREFIX}{name}", MAX_METADATA_BYTES)
            except NotFound:
                return

    def _copy(self, path: str, file: Mapping[str, Any]) -> None:
        """Rules 2 and 4."""
        digest, length, key = _digest(path, file), _whole(file, "length"), _key(path, file)
        there = self._target.head(key)
        if there is None or there.bytes != length or _digest_of(self._target, key, length) != digest:
            data = bytearray()
            while len(data) < length and (piece := self._source.get_range(key, len(data), _PIECE_BYTES)):
                data += piece
                self._count(len(piece))
            if len(data) != length or hashlib.sha256(data).hexdigest() != digest:
                raise BadRelease(f"object {key!r} is not what was signed: it was damaged or tampered with")
            self._target.put(key, bytes(data))
        self._kept[key] = length

    def _read(self, path: str, file: Mapping[str, Any]) -> bytes:
        return self._target.get(_key(path, file), max_bytes=_whole(file, "length"))

    def _put(self, key: str, data: bytes) -> None:
        there = self._target.head(key)
        if there is None or there.bytes != len(data) or self._target.get(key, max_bytes=len(data)) != data:
            self._target.put(key, data)
        self._kept[key] = len(data)

    def _prune(self) -> int:
        gone = [info.key for info in self._target.list(TARGETS_PREFIX) if info.key not in self._kept]
        for key in gone:
            self._target.delete(key)
        return len(gone)

    def _get(self, key: str, most: int) -> bytes:
        data = self._source.get(key, max_bytes=most)
        self._count(len(data))
        return data

    def _count(self, count: int) -> None:
        self._fetched += count
        self._rest(count)


def _wanted(path: str, inspections: frozenset[str]) -> bool:
    """Whether a target belongs to one of the inspections; what belongs to none comes along."""
    parts = path.split("/")
    return not inspections or parts[0] not in ("engines", "channels") or parts[1:2][0] in inspections


def _is_named(path: str, documents: bytes) -> bool:
    """Whether some online document names a target, or the engine that it goes with; what is no engine always counts."""
    if not path.startswith("engines/"):
        return True
    stem, dot, kind = path.rpartition(".")
    engine = f"{stem}.onnx" if dot and kind in ("chunks", "selftest") else path
    return any(json.dumps(name).encode() in documents for name in {path, engine})


def _digest_of(bucket: DirectoryBucket, key: str, length: int) -> str:
    digest = hashlib.sha256()
    for start in range(0, length, _PIECE_BYTES):
        digest.update(bucket.get_range(key, start, _PIECE_BYTES))
    return digest.hexdigest()


def _signed(data: bytes, role: str) -> Mapping[str, Any]:
    value = read_json(data, f"{role} metadata", BadRelease)
    signed = value.get("signed") if isinstance(value, dict) else None
    if not isinstance(signed, dict):
        raise BadRelease(f"{role} metadata has nothing signed in it: expected TUF metadata")
    return signed


def _targets(signed: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path, file in sorted(signed.get("targets", {}).items()):
        if isinstance(file, dict) and "/" in path:
            yield path, file


def _entry(signed: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    meta = signed.get("meta")
    entry = meta.get(name) if isinstance(meta, dict) else None
    if not isinstance(entry, dict):
        raise BadRelease(f"release metadata names no {name!r}: the repository is incomplete")
    return entry


def _whole(entry: Mapping[str, Any], name: str) -> int:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadRelease(f"release metadata has {name} {value!r}: expected a whole number")
    return value


def _version(signed: Mapping[str, Any]) -> int:
    return _whole(signed, "version")


def _digest(path: str, file: Mapping[str, Any]) -> str:
    """The digest of what lies in the bucket."""
    sealing = Sealing.from_custom(file.get("custom"))
    if sealing is not None:
        return sealing.sha256
    hashes = file.get("hashes")
    digest = hashes.get("sha256") if isinstance(hashes, dict) else None
    if not isinstance(digest, str) or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise BadRelease(f"target {path!r} is signed without a SHA-256 digest: refused")
    return digest


def _key(path: str, file: Mapping[str, Any]) -> str:
    folder, _, name = path.rpartition("/")
    return f"{TARGETS_PREFIX}{folder}/{_digest(path, file)}.{name}"
