"""A spool's life, played by a child process under `shim.c`; what it promised is noted between the changes on disk.

SHIM_ROOT=FOLDER SHIM_JOURNAL=FILE LD_PRELOAD=shim.so python -m tests.integration.capture.crash.story FOLDER ASIDE
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge_client.contract.names import record_key, shard_key
from edge_client.contract.signing import load_private_key
from edge_client.outbox import Outbox, Sender
from edge_client.spool import Spool
from edge_client.steps import Offer, Seal, Seen, Step
from edge_client.tally import Tally
from tests.unit.capture.test_spool import CLOCK, extra, opening

LIMIT, BUDGET, SHARD = 30_000, 20_000, 9_000
Note = Callable[[dict[str, Any]], None]


def open_spool(folder: Path) -> Spool:
    """Open the story's spool."""
    return Spool(folder, limit_bytes=LIMIT, clock=CLOCK, free_bytes=lambda _: 1 << 40)


def outbox_of(spool: Spool, key: Path) -> Outbox:
    """Make the outbox of the story's device."""
    sender = Sender(device="line-1", site="plant-a", station="aoi-3", inspection="cells", key=load_private_key(key))
    return Outbox(spool, sender, shard_bytes=SHARD)


def state_of(spool: Spool) -> dict[str, Any]:
    """Return all that a restart must bring back; an open window counts as sealed, as a restart leaves it."""
    windows = {
        str(window): ["sealed" if state == "open" else state, tau, *_counts(tally)]
        for window, state, tau, tally in spool.db.execute("SELECT window, state, tau, tally FROM windows")
    }
    entries = {
        row[0]: list(row[1:])
        for row in spool.db.execute("SELECT sample_id, state, window, sha256, acknowledged, released FROM entries")
    }
    return {"epoch": spool.epoch, "windows": windows, "entries": entries}


def _counts(tally: str) -> list[int]:
    read = json.loads(tally)
    return [read["frames"], read["excluded"], read["overload"]]


class NotedBucket:
    """A bucket beyond the disk: what arrived is noted and kept aside."""

    def __init__(self, aside: Path, note: Note) -> None:
        self._aside = aside
        self._note = note
        self._n = 0

    def put(self, key: str, data: bytes, *, content_type: str = "") -> None:
        """Store an object."""
        self._n += 1
        (self._aside / str(self._n)).write_bytes(data)
        self._note({"put": key, "file": str(self._n)})


class Line:
    """Frames in windows, from a seeded source."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._n = 0

    def frames(self, window: int, n: int) -> list[Step]:
        """Offer n frames of 0.5 to 4 kB and count them."""
        steps: list[Step] = []
        for _ in range(n):
            self._n += 1
            tally = Tally()
            tally.see(weight=1, label="ok", verdict="ok", engine_id="e1", anomaly=0.2, margin=0.9, run=self._n)
            offer = Offer(
                window=window,
                sample_id=hashlib.sha256(str(self._n).encode()).hexdigest()[:32],
                weight=1.0,
                u=1.0 - self._random.random(),
                run=self._n,
                reasons="{}",
                sealed=self._random.randbytes(self._random.randint(500, 4000)),
            )
            steps += [Seen(window=window, tally=tally, at=CLOCK.now()), offer]
        return steps


def play(folder: Path, key: Path, bucket: Any, note: Note) -> None:
    """Fill windows until budget and pool bind, send some, restart twice; note the state after every call."""
    line = Line(7)

    def told(spool: Spool) -> None:
        note({"state": state_of(spool)})

    def commit(spool: Spool, steps: Sequence[Step]) -> None:
        done = spool.commit(steps)
        note({"kept": sorted(done.kept), "state": state_of(spool)})

    def send(spool: Spool) -> bool:
        """As `Uploader.send_next`, told after every transaction."""
        outbox = outbox_of(spool, key)
        window = outbox.next_window()
        if window is None:
            return False
        while (shard := outbox.next_shard(window)) is not None:
            bucket.put(shard_key(outbox.device, outbox.epoch, window, shard.n), shard.data)
            outbox.acknowledge(shard)
            told(spool)
        record = outbox.record(window)
        assert record is not None
        told(spool)
        bucket.put(record_key(outbox.device, outbox.epoch, window), record)
        outbox.close(window)
        told(spool)
        return True

    spool = open_spool(folder)
    told(spool)
    for window in (1, 2):
        commit(spool, [opening(window, BUDGET), *line.frames(window, 2)])
        for _ in range(3):
            commit(spool, line.frames(window, 4))
        commit(spool, [extra(1000 + window, window=window)])
        commit(spool, [*line.frames(window, 1), Seal(window=window, closed_at=CLOCK.now())])
    send(spool)
    spool.close()  # the end of a process: SQLite checkpoints
    spool = open_spool(folder)
    told(spool)
    commit(spool, [opening(3, BUDGET), *line.frames(3, 6)])
    while send(spool):
        commit(spool, line.frames(3, 2))
    spool.close()
    spool = open_spool(folder)  # window 3 was open: the restart seals it
    told(spool)
    while send(spool):
        pass
    spool.close()


def main() -> None:
    """Play the story and note it in the journal."""
    folder, key, aside = (Path(word) for word in sys.argv[1:])
    shim = ctypes.CDLL(None)

    def note(value: dict[str, Any]) -> None:
        shim.shim_note(json.dumps(value).encode())

    play(folder, key, NotedBucket(aside, note), note)


if __name__ == "__main__":
    main()
