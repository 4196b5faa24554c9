"""Fetching a signed file in pieces.

1. Never more bytes than were signed, never into memory as a whole.
2. A download that was cut is resumed where it stopped, after a restart too; only one unfinished download is kept.
3. The digest is checked over the whole file at the end; a mismatch removes it.
4. There is a total deadline and a least rate, so that a trickling server can't hold the updater for ever.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from edge_client.clock import Clock
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import BadRelease, Unavailable
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
    stopped: Callable[[], bool] = lambda: False,
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
        stopped: Asked between pieces; True ends the call.

    Raises:
        Unavailable: Network, bucket, deadline or rate: try again, it resumes.
        NotFound, Refused: As the bucket says.
        BadRelease: The object is not what was signed.
        OSError: The disk failed or is full.
    """
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise BadRelease(f"{key!r} has the digest {sha256[:80]!r}: expected 64 hex digits")
    name = f"{sha256}.part"
    opened = open_plain_folder(folder)
    try:
        for other in os.listdir(opened):  # noqa: PTH208 - by descriptor, so that a link can't come between
            if other != name:
                os.unlink(other, dir_fd=opened)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=opened), "r+b") as file:
            digest = hashlib.sha256()
            have = 0
            while piece := file.read(CHUNK_BYTES):
                digest.update(piece)
                have += len(piece)
            if have > length:
                file.truncate(0)
                file.seek(0)
                digest, have = hashlib.sha256(), 0
            begun, first = clock.monotonic(), have
            while have < length:
                if stopped():
                    raise Unavailable(f"download of {key!r} was stopped after {have} of {length} bytes")
                piece = bucket.get_range(key, have, min(CHUNK_BYTES, length - have))
                if not piece or len(piece) > length - have:
                    raise _no_match(opened, name, key, f"it has another length than the signed {length} bytes")
                file.write(piece)
                file.flush()
                digest.update(piece)
                have += len(piece)
                _check_pace(
                    key, have, length, have - first, clock.monotonic() - begun, deadline_seconds, least_bytes_per_second
                )
            if digest.hexdigest() != sha256:
                raise _no_match(
                    opened, name, key, f"its digest is {digest.hexdigest()[:16]}…, signed is {sha256[:16]}…"
                )
            os.fsync(file.fileno())
        os.fsync(opened)
    finally:
        os.close(opened)
    return folder / name


def _check_pace(
    key: str,
    have: int,
    length: int,
    fetched: int,
    seconds: float,
    deadline_seconds: float,
    least_bytes_per_second: float,
) -> None:
    if have >= length:
        return
    if seconds > deadline_seconds:
        raise Unavailable(
            f"download of {key!r} took {seconds:.0f} s for {have} of {length} bytes: goes on with the next check"
        )
    if seconds > _GRACE_SECONDS and fetched / seconds < least_bytes_per_second:
        raise Unavailable(f"download of {key!r} runs at {fetched / seconds:.0f} bytes/s: goes on with the next check")


def _no_match(folder: int, name: str, key: str, found: str) -> BadRelease:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    return BadRelease(f"object {key!r} is not what was signed: {found}; it is not used and will be fetched again")
