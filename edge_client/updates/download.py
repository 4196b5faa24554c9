"""Fetching a signed file in pieces.

1. Never more bytes than were signed, never into memory as a whole.
2. A download that was cut is resumed where it stopped, at any byte, after a restart too; only one unfinished download
   is kept. The unfinished file is always a beginning of the whole one, so that it needs no record of its own.
3. The digest is checked over the whole file at the end. A mismatch removes it; when some of the file came from an
   earlier call or from the engines that are held (`plan`), or another source is left to ask, it is fetched once more,
   whole, before it is given up.
4. There is a total deadline and a least rate, so that a trickling server can't hold the updater for ever.
5. A limit of bytes a second holds on the average of every second; the time that it costs counts for the deadline but
   not against the least rate.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from edge_client.clock import Clock
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import BadRelease, Unavailable
from edge_client.updates.delta import Piece, piece_at
from edge_client.updates.slots import open_plain_folder

CHUNK_BYTES = 1 << 20
_GRACE_SECONDS = 10.0  # before the rate is judged: connections and slow starts


def download(
    bucket: Bucket,
    key: str,
    *,
    sha256: str,
    length: int,
    folder: Path,
    clock: Clock,
    deadline_seconds: float = 1800.0,
    least_bytes_per_second: float = 1000.0,
    bytes_per_second: int = 0,
    plan: Sequence[Piece] = (),
    distrust: Callable[[], bool] = lambda: False,
    stopped: Callable[[], bool] = lambda: False,
    wait: Callable[[float], object] = time.sleep,
) -> Path:
    """Fetch an object into `folder` and return the verified, synced file.

    Args:
        bucket: Where it lies.
        key: Its key.
        sha256: Signed digest.
        length: Signed length in bytes.
        folder: For unfinished downloads; others in it are removed.
        clock: Measures the deadline and the rate.
        deadline_seconds: Longest time this call may take; what was fetched stays for the next call.
        least_bytes_per_second: Slower downloads are given up.
        bytes_per_second: Most bytes a second; 0 is no limit.
        plan: Which parts of it are held already; empty to fetch all.
        distrust: Told that what came is not what was signed; True when there is another source to ask.
        stopped: Asked between pieces; True ends the call.
        wait: Waits so many seconds, less when the call should end.

    Raises:
        Unavailable: Network, bucket, deadline or rate: try again, it resumes.
        NotFound, Refused: As the bucket says.
        BadRelease: The object is not what was signed.
        OSError: The disk failed or is full.
    """
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise BadRelease(f"{key!r} has the digest {sha256[:80]!r}: expected 64 hex digits")
    name = f"{sha256}.part"
    pace = _Pace(key, length, clock, deadline_seconds, least_bytes_per_second, bytes_per_second, wait)
    opened = open_plain_folder(folder)
    try:
        for other in os.listdir(opened):  # noqa: PTH208 - by descriptor, so that a link can't come between
            if other != name:
                os.unlink(other, dir_fd=opened)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=opened), "r+b") as file:
            mixed = bool(plan)
            while True:
                digest, have = _resumed(file, length)
                mixed = mixed or have > 0
                try:
                    problem = _fill(bucket, key, file, digest, have, length, plan, pace, stopped)
                except _AnotherLength as error:
                    problem = str(error)
                else:
                    problem = "" if problem == sha256 else f"its digest is {problem[:16]}…, signed is {sha256[:16]}…"
                if not problem:
                    break
                again = distrust() or mixed  # rule 3
                if not again:
                    raise _no_match(opened, name, key, problem)
                file.truncate(0)
                plan, mixed = (), False
            os.fsync(file.fileno())
        os.fsync(opened)
    finally:
        os.close(opened)
    return folder / name


class _AnotherLength(Exception):
    """The object ends early, or goes on."""


def _resumed(file: BinaryIO, length: int) -> tuple[hashlib._Hash, int]:
    """Read what is there (rule 2); return its digest so far and its length."""
    file.seek(0)
    digest, have = hashlib.sha256(), 0
    while piece := file.read(CHUNK_BYTES):
        digest.update(piece)
        have += len(piece)
    if have > length:
        file.truncate(0)
        file.seek(0)
        return hashlib.sha256(), 0
    return digest, have


def _fill(
    bucket: Bucket,
    key: str,
    file: BinaryIO,
    digest: hashlib._Hash,
    have: int,
    length: int,
    plan: Sequence[Piece],
    pace: _Pace,
    stopped: Callable[[], bool],
) -> str:
    """Append what is missing and return the digest of the whole."""
    while have < length:
        if stopped():
            raise Unavailable(f"download of {key!r} was stopped after {have} of {length} bytes")
        held, rest = piece_at(plan, have, length)
        if held is None:
            piece: bytes | memoryview = bucket.get_range(key, have, min(pace.piece_bytes, rest))
            if not piece or len(piece) > rest:
                raise _AnotherLength(f"it has another length than the signed {length} bytes")
        else:
            piece = held
        file.write(piece)
        file.flush()
        digest.update(piece)
        have += len(piece)
        if held is None:
            pace.fetched(len(piece), have)
    return digest.hexdigest()


class _Pace:
    """Rules 4 and 5."""

    def __init__(
        self,
        key: str,
        length: int,
        clock: Clock,
        deadline_seconds: float,
        least_bytes_per_second: float,
        bytes_per_second: int,
        wait: Callable[[float], object],
    ) -> None:
        self._key = key
        self._length = length
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._least = least_bytes_per_second
        self._most = bytes_per_second
        self._wait = wait
        self._begun = clock.monotonic()
        self._bytes = 0
        self._rested = 0.0
        self.piece_bytes = min(CHUNK_BYTES, bytes_per_second) if bytes_per_second else CHUNK_BYTES

    def fetched(self, count: int, have: int) -> None:
        """Count a piece; rest if it came too fast, give up if it came too slowly."""
        self._bytes += count
        if have >= self._length:
            return
        at = self._clock.monotonic()
        if self._most and (ahead := self._bytes / self._most - (at - self._begun)) > 0:
            self._wait(ahead)
            rested = self._clock.monotonic()
            self._rested += rested - at
            at = rested
        seconds = at - self._begun
        if seconds > self._deadline_seconds:
            raise Unavailable(
                f"download of {self._key!r} took {seconds:.0f} s for {have} of {self._length} bytes: goes on with the "
                "next check"
            )
        busy = seconds - self._rested
        if busy > _GRACE_SECONDS and self._bytes / busy < self._least:
            raise Unavailable(
                f"download of {self._key!r} runs at {self._bytes / busy:.0f} bytes/s: goes on with the next check"
            )


def _no_match(folder: int, name: str, key: str, found: str) -> BadRelease:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    return BadRelease(f"object {key!r} is not what was signed: {found}; it is not used and will be fetched again")
