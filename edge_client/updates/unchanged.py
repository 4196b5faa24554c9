"""A look for releases that finds nothing new costs one small request.

A fleet of ten thousand that looks every few minutes asks for the same few files all day. Of these only
``timestamp.json`` ever changes under its name, and everything else hangs on it:

1. The timestamp is asked for conditionally. While it is the one that was verified last, what was found then holds.
2. That holds for `FULL_SECONDS` at most, and never past the end of any metadata it rests on: then all of it is asked
   for and judged again, a new root included. A server that hides a change so long could as well serve old files.
3. Only what was accepted without a complaint is remembered: a damaged or refused document is looked at again each time.
4. Targets are stored under their digest, so that a channel's or a device's document is fetched once for each content.
5. Nothing of this outlives the process: after a start everything is verified anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from edge_client.contract.bucket import Bucket, Fetched, ObjectInfo
from edge_client.contract.releases import METADATA_PREFIX, TARGETS_PREFIX

FULL_SECONDS = 6 * 3600.0
TIMESTAMP_KEY = f"{METADATA_PREFIX}timestamp.json"
MAX_TIMESTAMP_BYTES = 16_384  # python-tuf's own bound
_DOCUMENTS = (f"{TARGETS_PREFIX}channels/", f"{TARGETS_PREFIX}settings/")
_MOST_KEPT = 16
_MOST_BYTES = 262_144  # of a document that is kept

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRefresh(Generic[_Found]):
    """What the last complete refresh found, and how long that holds.

    Attributes:
        bucket: Where it was found.
        asked: What was asked for.
        etag: Of the timestamp that was verified.
        keys: Fingerprint of the keys that signed it.
        found: The result.
        until: The first end of any metadata in it.
        full_at: When everything is looked at again, on the monotonic clock.
    """

    bucket: Bucket
    asked: tuple[object, ...]
    etag: str
    keys: str
    found: _Found
    until: datetime
    full_at: float

    def tag_for(self, bucket: Bucket, asked: tuple[object, ...], *, now: datetime, monotonic: float) -> str | None:
        """The tag to ask with, or None when rule 2 or another question demands the whole."""
        holds = now < self.until and monotonic < self.full_at
        return self.etag if holds and bucket is self.bucket and asked == self.asked else None


class Documents:
    """The few signed documents that a device follows, by their key (rule 4)."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        """A document that was fetched before."""
        return self._kept.get(key)

    def keep(self, key: str, data: bytes) -> None:
        """Keep a document if it is one, and what its key says it is."""
        name = key.rpartition("/")[2]
        if not key.startswith(_DOCUMENTS) or len(data) > _MOST_BYTES:
            return
        if hashlib.sha256(data).hexdigest() == name.partition(".")[0]:
            self._kept.pop(key, None)
            self._kept[key] = data
            while len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]


class RememberingBucket:
    """A bucket that is not asked again for what is known: one fetched timestamp, and documents.

    Args:
        bucket: The real one.
        timestamp: What the conditional request brought.
        documents: What is kept from before.
    """

    def __init__(self, bucket: Bucket, timestamp: Fetched, documents: Documents) -> None:
        self._bucket = bucket
        self._timestamp = timestamp
        self._documents = documents

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object, known or fetched."""
        if key == TIMESTAMP_KEY:
            return self._timestamp.data
        known = self._documents.get(key)
        if known is not None and len(known) <= max_bytes:
            return known
        data = self._bucket.get(key, max_bytes=max_bytes)
        self._documents.keep(key, data)
        return data

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store an object."""
        self._bucket.put(key, data, content_type=content_type)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return a piece of an object."""
        return self._bucket.get_range(key, start, length)

    def head(self, key: str) -> ObjectInfo | None:
        """Tell about an object, or None."""
        return self._bucket.head(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects under a prefix."""
        return self._bucket.list(prefix)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._bucket.delete(key)
