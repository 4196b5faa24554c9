"""Where releases come from: mirrors in their order, then the bucket.

1. Mirrors are caches that nobody has to trust: everything is signed, or named by its digest.
2. The newest signed word wins: each check asks every source for its timestamp, and the metadata of the newest is tried
   first. A mirror that lags, or is held back on purpose, hides nothing while another source is there.
3. Files are named by their digest: the first source that has one serves it. A small file is checked here; a large one
   by who puts it together, who then says which source not to ask again for it (`distrust`).
4. A mirror that can't be reached is left alone for a while, longer each time; the bucket is always asked.
5. What went wrong with a mirror is told in the status and is otherwise no error, as long as another source serves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge_client.clock import Clock
from edge_client.contract.bucket import Bucket, DirectoryBucket, ObjectInfo
from edge_client.contract.errors import AndonError, BadRelease, BucketError, NotFound, Refused, Unavailable
from edge_client.contract.releases import METADATA_PREFIX
from edge_client.updates.web_mirror import WebMirror

BUCKET = "bucket"
_TIMESTAMP = f"{METADATA_PREFIX}timestamp.json"
_MAX_TIMESTAMP_BYTES = 65_536
_REST_SECONDS = 30.0
_LONGEST_REST_SECONDS = 600.0
_DIGEST_LETTERS = 64
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """One source, for people.

    Attributes:
        name: Its address; ``bucket`` for the bucket.
        bytes_served: What it has served since the start.
        problem: What went wrong there last; "" when all is well.
    """

    name: str
    bytes_served: int
    problem: str


class Source:
    """One place to ask.

    Args:
        name: For people.
        bucket: How it is read.
    """

    def __init__(self, name: str, bucket: Bucket) -> None:
        self.name = name
        self.bucket = bucket
        self.bytes_served = 0
        self.problem = ""
        self._failures = 0
        self._rests_until = 0.0

    def rests(self, at: float) -> bool:
        """Rule 4."""
        return self.name != BUCKET and at < self._rests_until

    def served(self, count: int) -> None:
        """It answered."""
        self.bytes_served += count
        self._failures, self._rests_until = 0, 0.0

    def failed(self, error: AndonError, at: float) -> None:
        """It did not, or not rightly. What it simply has not is no failure."""
        if isinstance(error, NotFound):
            return
        self.problem = str(error)
        if isinstance(error, Unavailable):
            self._rests_until = at + min(_REST_SECONDS * 2**self._failures, _LONGEST_REST_SECONDS)
            self._failures = min(self._failures + 1, 10)


class Sources:
    """A bucket that asks several.

    Args:
        sources: In their order.
        clock: Measures rests.
    """

    def __init__(self, sources: Sequence[Source], clock: Clock) -> None:
        self._sources = tuple(sources)
        self._clock = clock
        self._metadata: Source | None = None
        self._timestamp = b""
        self._gave: set[tuple[str, str]] = set()
        self._distrusted: set[tuple[str, str]] = set()

    @property
    def newest(self) -> str:
        """Name of the source whose metadata the last check accepted; "" before."""
        return self._metadata.name if self._metadata is not None else ""

    def status(self) -> tuple[SourceStatus, ...]:
        """Tell about each source."""
        return tuple(SourceStatus(name=s.name, bytes_served=s.bytes_served, problem=s.problem) for s in self._sources)

    def refreshed(self, refresh: Callable[[], _Result]) -> _Result:
        """Call `refresh` with each source's metadata until one is accepted, the newest first (rule 2).

        Raises:
            BadRelease, BucketError: Of the bucket, where it was asked; else of the last source.
        """
        self._gave.clear()
        self._distrusted.clear()
        found, problems = self._timestamps()
        for source, timestamp in found:
            self._metadata, self._timestamp = source, timestamp
            try:
                result = refresh()
            except (BadRelease, BucketError) as error:
                problems[source.name] = error
                source.failed(error, self._clock.monotonic())
                continue
            source.problem = ""
            return result
        self._metadata, self._timestamp = None, b""
        raise problems.get(BUCKET) or next(reversed(problems.values()))

    def distrust(self, key: str) -> bool:
        """Ask those that gave bytes of `key` no more for it until the next check; False when only the last did."""
        gave = [source for source in self._sources[:-1] if (source.name, key) in self._gave]
        for source in gave:
            source.problem = f"what it gave of {key!r} is not what was signed"
            self._distrusted.add((source.name, key))
            self._gave.discard((source.name, key))
        return bool(gave)

    # --- Bucket -----------------------------------------------------------------------------------------------------

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object of at most `max_bytes`; metadata of the source in turn, files of the first that has them."""
        if key.startswith(METADATA_PREFIX):
            source = self._metadata or self._sources[-1]
            data = self._timestamp if key == _TIMESTAMP and self._timestamp else b""
            data = data or source.bucket.get(key, max_bytes=max_bytes)
            source.served(len(data))
            return data
        return self._first(key, lambda bucket: _checked(key, bucket.get(key, max_bytes=max_bytes)))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`, of the first source that has the object."""
        return self._first(key, lambda bucket: bucket.get_range(key, start, length))

    def head(self, key: str) -> ObjectInfo | None:
        """Tell about an object, by the last source."""
        return self._sources[-1].bucket.head(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what the last source lists."""
        return self._sources[-1].bucket.list(prefix)

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Not possible: releases are only read."""
        raise Refused(f"releases are only read: {key!r} is not put")

    def delete(self, key: str) -> None:
        """Not possible: releases are only read."""
        raise Refused(f"releases are only read: {key!r} is not removed")

    def _first(self, key: str, read: Callable[[Bucket], bytes]) -> bytes:
        """Rule 3. The error that is raised is the last source's."""
        last: BucketError | BadRelease | None = None
        for source in self._asked(key):
            try:
                data = read(source.bucket)
            except (BucketError, BadRelease) as error:
                source.failed(error, self._clock.monotonic())
                last = error
                continue
            source.served(len(data))
            self._gave.add((source.name, key))
            return data
        raise last or Unavailable(f"no source is left to ask for {key!r}")

    def _asked(self, key: str) -> Iterator[Source]:
        at = self._clock.monotonic()
        return (s for s in self._sources if not s.rests(at) and (s.name, key) not in self._distrusted)

    def _timestamps(self) -> tuple[tuple[tuple[Source, bytes], ...], dict[str, AndonError]]:
        """The sources that have a timestamp, the newest first; on a tie in their order."""
        at = self._clock.monotonic()
        found = []
        problems: dict[str, AndonError] = {}
        for source in self._sources:
            if source.rests(at):
                continue
            try:
                data = source.bucket.get(_TIMESTAMP, max_bytes=_MAX_TIMESTAMP_BYTES)
            except BucketError as error:
                problems[source.name] = error
                source.failed(error, at)
                continue
            found.append((_version(data), source, data))
        if not found and not problems:
            raise Unavailable("every mirror rests after it could not be reached: tried again later")
        found.sort(key=lambda each: -each[0])
        return tuple((source, data) for _, source, data in found), problems


def open_sources(
    mirrors: Sequence[str], bucket: Bucket | None, clock: Clock, *, ca_bundle: Path | None = None
) -> Bucket | None:
    """Return the bucket with mirrors before it; the bucket itself, or None, where there are none.

    Args:
        mirrors: Addresses and folders, in order.
        bucket: Asked last.
        clock: Measures rests.
        ca_bundle: For mirrors on HTTPS.

    Raises:
        ConfigError: An address can't be used.
    """
    if not mirrors:
        return bucket
    sources = [Source(name, open_mirror(name, ca_bundle=ca_bundle)) for name in mirrors]
    if bucket is not None:
        sources.append(Source(BUCKET, bucket))
    return Sources(sources, clock)


def open_mirror(name: str, *, ca_bundle: Path | None = None) -> Bucket:
    """Open one mirror: an address, or a folder.

    Raises:
        ConfigError: The address can't be used.
    """
    if "://" in name:
        return WebMirror(name, ca_bundle=ca_bundle)
    return DirectoryBucket(Path(name))


def refreshed(bucket: Bucket, refresh: Callable[[], _Result]) -> _Result:
    """Call `refresh`, once for each source where there are several (see `Sources.refreshed`)."""
    return bucket.refreshed(refresh) if isinstance(bucket, Sources) else refresh()


def source_of(bucket: Bucket | None) -> str:
    """Name where the metadata of the last check came from."""
    if isinstance(bucket, Sources):
        return bucket.newest
    if isinstance(bucket, DirectoryBucket):
        return str(bucket.path)
    return "" if bucket is None else BUCKET


def _version(timestamp: bytes) -> int:
    """The version that a timestamp claims, not yet verified; 0 when it can't be read."""
    try:
        return int(json.loads(timestamp)["signed"]["version"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0


def _checked(key: str, data: bytes) -> bytes:
    """Rule 3, for a file whose name begins with its digest."""
    named = key.rpartition("/")[2].partition(".")[0]
    if len(named) == _DIGEST_LETTERS and hashlib.sha256(data).hexdigest() != named:
        raise BadRelease(f"object {key!r} is not what its name says: damaged, or tampered with")
    return data
