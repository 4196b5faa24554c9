"""The engines and self-tests at hand as bases of a delta download: those of both slots and of the factory.

1. The slots are read whatever the state says of them: a base only saves bytes, nothing is run from here.
2. A list that can't be used (another rule, another engine, not what was signed) is no reason to refuse a release: the
   whole files are fetched.
3. A delta that would move as many bytes as the whole files is not used; the list counts as moved, and is itself fetched
   only when there is a base.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_client.contract.bucket import Bucket
from edge_client.contract.chunks import MAX_LIST_BYTES, FilePieces
from edge_client.contract.errors import BadRelease, NotFound, Refused
from edge_client.updates.delta import Piece, compare, missing_bytes
from edge_client.updates.fetching import fetch_chunks
from edge_client.updates.rules import Place
from edge_client.updates.signed import Release, SignedFile
from edge_client.updates.slots import ENGINE_FILE, SELFTEST_FILE, Slots

_LEAST_GAIN = 4  # a list of more than a quarter of its engine is not worth its fetching
_MOST_BASE = 2  # a base that is more than twice as large as the new file is another kind of file


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadPlan:
    """What is held of a release; empty plans fetch all.

    Attributes:
        engine: Parts of the engine.
        selftest: Parts of the self-test.
    """

    engine: tuple[Piece, ...] = ()
    selftest: tuple[Piece, ...] = ()


def plan_download(release: Release, bucket: Bucket, slots: Slots, factory_engine: Path) -> DownloadPlan:
    """Plan the download of a release from what is held.

    Raises:
        Unavailable: The bucket can't be reached.
    """
    engine, selftest, listed = release.engine, release.selftest, release.chunks
    if listed is None or listed.length > min(MAX_LIST_BYTES, engine.length // _LEAST_GAIN):
        return DownloadPlan()
    folders = [slots.path(place) for place in (Place.A, Place.B)]
    engines = _read([*(folder / ENGINE_FILE for folder in folders), factory_engine], engine.length)
    if not engines:
        return DownloadPlan()
    selftests = [*(folder / SELFTEST_FILE for folder in folders), factory_engine.with_suffix(".selftest")]
    try:
        wanted = fetch_chunks(bucket, listed)
    except (BadRelease, NotFound, Refused):
        return DownloadPlan()
    plan = DownloadPlan(
        engine=_compared(wanted.engine, engine, engines),
        selftest=_compared(wanted.selftest, selftest, _read(selftests, selftest.length)),
    )
    pairs = ((plan.engine, engine), (plan.selftest, selftest))
    moved = sum(missing_bytes(pieces) if pieces else file.length for pieces, file in pairs)
    return plan if moved + listed.length < engine.length + selftest.length else DownloadPlan()


def _compared(wanted: FilePieces, file: SignedFile, bases: Sequence[bytes]) -> tuple[Piece, ...]:
    """Rule 2."""
    return compare(wanted, bases) if (wanted.sha256, wanted.length) == (file.sha256, file.length) else ()


def _read(paths: Sequence[Path], file_bytes: int) -> list[bytes]:
    """Read what are plain files of a bounded size."""
    found = []
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(descriptor, "rb") as file:
                about = os.fstat(file.fileno())
                if stat.S_ISREG(about.st_mode) and 0 < about.st_size <= _MOST_BASE * file_bytes:
                    found.append(file.read(about.st_size))
        except OSError:
            continue
    return found
