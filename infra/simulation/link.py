"""The devices' way to the bucket: counted, and as bad as it is asked to be."""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from random import Random

from edge_client.contract.bucket import Bucket, Fetched, ObjectInfo, Page
from edge_client.contract.conditional import get_changed, page_of
from edge_client.contract.errors import NotFound, Unavailable
from infra.simulation.clocks import VirtualClock

#: Kinds of request, as S3 bills them.
KINDS = ("put", "get", "unchanged", "missing", "list")


_ENTRY_BYTES = 225  # of one object in a listing, as SeaweedFS writes it


class Meter:
    """Counts requests and the bytes of objects in them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def note(self, kind: str, size: int = 0) -> None:
        """One request."""
        with self._lock:
            self.requests[kind] += 1
            self.bytes[kind] += size

    def copy(self) -> Meter:
        """As it is now."""
        made = Meter()
        with self._lock:
            made.requests, made.bytes = self.requests.copy(), self.bytes.copy()
        return made

    def since(self, before: Meter) -> Meter:
        """What was counted after `before` was copied."""
        made = Meter()
        made.requests, made.bytes = self.requests - before.requests, self.bytes - before.bytes
        return made


class TimedBucket:
    """A bucket in virtual time: objects say when they were put there by the simulation's clock.

    Args:
        bucket: The real one.
        clock: The true time.
        meter: Counts.
    """

    def __init__(self, bucket: Bucket, clock: VirtualClock, meter: Meter) -> None:
        self._bucket = bucket
        self._clock = clock
        self._put_at: dict[str, float] = {}
        self.meter = meter

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store an object."""
        self.meter.note("put", len(data))
        self._bucket.put(key, data, content_type=content_type)
        self._put_at[key] = self._clock.seconds

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object."""
        try:
            data = self._bucket.get(key, max_bytes=max_bytes)
        except NotFound:
            self.meter.note("missing")
            raise
        self.meter.note("get", len(data))
        return data

    def get_changed(self, key: str, *, etag: str | None, max_bytes: int) -> Fetched | None:
        """Return an object if it is another one."""
        found = get_changed(self._bucket, key, etag=etag, max_bytes=max_bytes)
        self.meter.note("unchanged" if found is None else "get", 0 if found is None else len(found.data))
        return found

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return a piece of an object."""
        data = self._bucket.get_range(key, start, length)
        self.meter.note("get", len(data))
        return data

    def head(self, key: str) -> ObjectInfo | None:
        """Tell about an object."""
        self.meter.note("get")
        return self._bucket.head(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects under a prefix."""
        self.meter.note("list")
        return map(self._timed, self._bucket.list(prefix))

    def page(self, prefix: str, *, after: str, most: int = 1000) -> Page:
        """Return one page of a listing."""
        found = page_of(self._bucket, prefix, after=after, most=most)
        self.meter.note("list", _ENTRY_BYTES * len(found.infos))
        return replace(found, infos=tuple(map(self._timed, found.infos)))

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._bucket.delete(key)

    def sharing(self, meter: Meter) -> TimedBucket:
        """The same bucket for another user, counted apart."""
        made = TimedBucket(self._bucket, self._clock, meter)
        made.share_times(self)
        return made

    def share_times(self, other: TimedBucket) -> None:
        """Know when the other's objects were put there, and the other way round."""
        self._put_at = other._put_at

    def _timed(self, info: ObjectInfo) -> ObjectInfo:
        at = self._put_at.get(info.key)
        return info if at is None else replace(info, modified=self._clock.start + timedelta(seconds=at))


class Link(TimedBucket):
    """What lies between a fleet and its bucket.

    Args:
        bucket: The bucket.
        clock: The true time.
        meter: Counts what is asked for, lost requests too.
        loss: Share of requests that are lost; of a put, half of them after it was stored.
        lag_seconds: A put arrives so much later, on average.
        random: For both.
    """

    def __init__(
        self, bucket: Bucket, clock: VirtualClock, meter: Meter, *, loss: float, lag_seconds: float, random: Random
    ) -> None:
        super().__init__(bucket, clock, meter)
        self._loss, self._lag, self._random = loss, lag_seconds, random
        self._under_way: list[tuple[float, int, str, bytes, str]] = []
        self._numbers = count()
        self.lost = 0

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store an object, perhaps later, perhaps without an answer."""
        lost = self._is_lost()
        if lost and self._random.random() < 0.5:  # on the way there
            self.meter.note("put", len(data))
            raise Unavailable(f"simulated loss: {key!r} was not stored")
        if self._lag:
            self.meter.note("put", len(data))
            due = self._clock.seconds + self._random.expovariate(1 / self._lag)
            heapq.heappush(self._under_way, (due, next(self._numbers), key, data, content_type))
        else:
            super().put(key, data, content_type=content_type)
        if lost:
            raise Unavailable(f"simulated loss: no answer about {key!r}")

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object, or lose the request."""
        self._lose(key)
        return super().get(key, max_bytes=max_bytes)

    def get_changed(self, key: str, *, etag: str | None, max_bytes: int) -> Fetched | None:
        """Return an object if it is another one, or lose the request."""
        self._lose(key)
        return super().get_changed(key, etag=etag, max_bytes=max_bytes)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return a piece of an object, or lose the request."""
        self._lose(key)
        return super().get_range(key, start, length)

    def deliver(self) -> None:
        """Let arrive what is due."""
        while self._under_way and self._under_way[0][0] <= self._clock.seconds:
            due, _, key, data, content_type = heapq.heappop(self._under_way)
            self._bucket.put(key, data, content_type=content_type)
            self._put_at[key] = due

    def _lose(self, key: str) -> None:
        if self._is_lost():
            self.meter.note("get")
            raise Unavailable(f"simulated loss: no answer about {key!r}")

    def _is_lost(self) -> bool:
        lost = self._random.random() < self._loss
        self.lost += lost
        return lost
