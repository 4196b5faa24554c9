"""Lets each change that a spool makes to its disk fail in turn, in a process under `shim.c`, and checks what is left.

SHIM_ROOT=FOLDER LD_PRELOAD=shim.so python -m tests.integration.capture.crash.failing FOLDER KEY
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.signing import load_private_key, public_hex
from edge_client.spool import Spool
from edge_client.spool_database import SpoolError
from edge_client.steps import Seal, Step
from edge_client.uploader import Uploader
from tests.integration.capture.crash.story import BUDGET, Line, open_spool, outbox_of, state_of
from tests.unit.capture.device import records_in
from tests.unit.capture.test_spool import CLOCK, extra, opening

# A disk that is full or read-only stays so for a while; an error of the medium comes and goes.
WAYS = ((errno.ENOSPC, 1), (errno.EROFS, 1), (errno.EIO, 0))


def main() -> None:
    """Print how many failures were tried, how many calls said so, and how many samples were promised."""
    root, key = Path(sys.argv[1]), Path(sys.argv[2])
    shim = ctypes.CDLL(None)
    told = {"failures": 0, "refused": 0, "promised": 0}
    for code, lasting in WAYS:
        n = 1
        while True:
            try:
                changes, refused, promised = one(root / "spool", root.parent / "bucket", key, shim, n, code, lasting)
            except BaseException as error:
                error.add_note(f"change {n} failed with {errno.errorcode[code]}, lasting: {bool(lasting)}")
                raise
            if changes < n:
                break
            told["failures"] += 1
            told["refused"] += refused
            told["promised"] += promised
            n += 1
    print(json.dumps(told))


def one(
    folder: Path, bucket_folder: Path, key: Path, shim: ctypes.CDLL, n: int, code: int, lasting: int
) -> tuple[int, int, int]:
    """Let the n-th change fail; returns how many changes there were, calls that failed, and samples promised."""
    line = Line(3)
    spool = open_spool(folder)
    promised = set(spool.commit([opening(1, BUDGET), *line.frames(1, 3)]).kept)
    bucket = DirectoryBucket(bucket_folder)
    refused = 0
    steps: list[list[Step]] = [
        line.frames(1, 3),
        [extra(1), *line.frames(1, 1)],
        [*line.frames(1, 2), Seal(window=1, closed_at=CLOCK.now())],
        [opening(2, BUDGET), *line.frames(2, 2)],
    ]
    shim.shim_fail(n, code, lasting)
    for batch in steps:
        before = state_of(spool)
        try:
            promised |= spool.commit(batch).kept
        except SpoolError:
            refused += 1
            assert state_of(spool) == before  # nothing of it counts
    uploader = Uploader(outbox_of(spool, key), bucket, clock=CLOCK)
    try:
        while uploader.send_next():
            pass
    except SpoolError:
        refused += 1
    changes = shim.shim_changes()
    shim.shim_fail(0, 0, 0)

    copy = folder.parent.parent / "copy"  # what a process finds that starts after a cut at this moment
    shutil.copytree(folder, copy)
    other = open_spool(copy)
    _holds(other, promised)
    other.close()
    shutil.rmtree(copy)

    promised |= spool.commit([opening(9, BUDGET), *line.frames(9, 2)]).kept  # the disk is well again
    _holds(spool, promised)
    spool.close()
    spool = open_spool(folder)
    _holds(spool, promised)
    uploader = Uploader(outbox_of(spool, key), bucket, clock=CLOCK)
    while uploader.send_next():
        pass
    public_key = public_hex(load_private_key(key))
    listed = [entry.sample_id for record in records_in(bucket, public_key) for entry in record.manifest]
    evicted = {name for name, e in state_of(spool)["entries"].items() if e[0] == "evicted"}
    assert len(listed) == len(set(listed))
    assert promised - evicted <= set(listed)
    spool.close()
    for used in (folder, bucket_folder):
        with suppress(FileNotFoundError):
            shutil.rmtree(used)
    return changes, refused, len(promised)


def _holds(spool: Spool, promised: set[str]) -> None:
    entries = state_of(spool)["entries"]
    assert promised <= set(entries)
    assert not (spool.folder / "set-aside").exists()
    for name in promised:
        state, _, sha256, _, released = entries[name]
        assert state in ("kept", "evicted", "uploaded")
        if state == "kept" and not released:
            assert hashlib.sha256(spool.blob_path(name).read_bytes()).hexdigest() == sha256


if __name__ == "__main__":
    main()
