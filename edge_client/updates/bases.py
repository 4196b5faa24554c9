"""The engines at hand as bases of a delta download: both slots and the factory engine.

1. The slots are read whatever the state says of them: a base only saves bytes, nothing is run from here.
2. A list that can't be used (another rule, another engine, not what was signed) is no reason to refuse a release: the
   whole file is fetched.
3. A delta that would move as many bytes as the whole file is not used; the list counts as moved, and is itself fetched
   only when there is a base.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from edge_client.contract.bucket import Bucket
from edge_client.contract.chunks import MAX_LIST_BYTES
from edge_client.contract.errors import BadRelease, NotFound, Refused
from edge_client.contract.onnx_layout import RULE
from edge_client.updates.delta import Piece, compare, missing_bytes
from edge_client.updates.rules import Place
from edge_client.updates.slots import ENGINE_FILE, Slots
from edge_client.updates.trusted import Release, fetch_chunks

_LEAST_GAIN = 4  # a list of more than a quarter of its engine is not worth its fetching
_MOST_BASE = 2  # a base that is more than twice as large as the new engine is another kind of engine


def plan_download(release: Release, bucket: Bucket, slots: Slots, factory_engine: Path) -> tuple[Piece, ...]:
    """Plan the download of a release from what is held; empty when the whole file should be fetched.

    Raises:
        Unavailable: The bucket can't be reached.
    """
    engine, listed = release.engine, release.chunks
    if listed is None or listed.length > min(MAX_LIST_BYTES, engine.length // _LEAST_GAIN):
        return ()
    bases = _read([*(slots.path(p) / ENGINE_FILE for p in (Place.A, Place.B)), factory_engine], engine.length)
    if not bases:
        return ()
    try:
        wanted = fetch_chunks(bucket, listed)
    except (BadRelease, NotFound, Refused):
        return ()
    if (wanted.engine_sha256, wanted.engine_bytes, wanted.rule) != (engine.sha256, engine.length, RULE):
        return ()
    plan = compare(wanted, bases)
    return plan if missing_bytes(plan) + listed.length < engine.length else ()


def _read(paths: Sequence[Path], engine_bytes: int) -> list[bytes]:
    """Read what are plain files of a bounded size."""
    found = []
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(descriptor, "rb") as file:
                about = os.fstat(file.fileno())
                if stat.S_ISREG(about.st_mode) and 0 < about.st_size <= _MOST_BASE * engine_bytes:
                    found.append(file.read(about.st_size))
        except OSError:
            continue
    return found
