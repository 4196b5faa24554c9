"""The spool is cut after every single change that it makes to the disk, in four ways: nothing promised is lost."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.inclusion import counts_for_estimates
from edge_client.contract.signing import generate_private_key
from edge_client.uploader import Uploader
from tests.integration.capture.crash.disk import Disk, Held, read_journal, write_image
from tests.integration.capture.crash.story import BUDGET, LIMIT, open_spool, outbox_of, state_of
from tests.unit.capture.device import records_in, sealed_of
from tests.unit.capture.test_spool import CLOCK

HERE = Path(__file__).parent
Image = dict[str, Held]


class Told:
    """What the story's process had promised up to a cut."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []
        self.acknowledged: set[str] = set()
        self.bucket: dict[str, Path] = {}

    def hear(self, note: dict[str, Any], aside: Path) -> None:
        if "state" in note:
            self.states.append(note["state"])
        self.acknowledged |= set(note.get("kept", ()))
        if "put" in note:
            self.bucket[note["put"]] = aside / note["file"]


class Story:
    """The journal of one played story."""

    def __init__(self, folder: Path, shim: Path) -> None:
        self.root, self.key, self.aside = folder / "spool", folder / "device.key", folder / "aside"
        self.root.mkdir()
        self.aside.mkdir()
        self.public_key = generate_private_key(self.key)
        journal = folder / "journal"
        subprocess.run(
            [sys.executable, "-m", "tests.integration.capture.crash.story", self.root, self.key, self.aside],
            cwd=HERE.parents[3],
            env={**os.environ, "LD_PRELOAD": str(shim), "SHIM_ROOT": str(self.root), "SHIM_JOURNAL": str(journal)},
            check=True,
        )
        self.changes = [c for c in read_journal(journal) if not c.path.endswith("-shm")]  # no disk holds these

    def cuts(self) -> Iterator[tuple[int, str, Image, Told, dict[str, Any] | None]]:
        """Yield every cut: its number, the way, what the disk holds, what was promised, and the state under way."""
        disk, told = Disk(str(self.root)), Told()
        following = self._following_states()
        for n, change in enumerate(self.changes):
            if change.note is not None:
                told.hear(change.note, self.aside)
                continue
            if change.operation == "write":
                yield n, "torn", disk.torn(change), told, following[n]
            disk.apply(change)
            yield n, "killed", disk.killed(), told, following[n]
            yield n, "dark", disk.dark(None), told, following[n]
            yield n, "partly dark", disk.dark(random.Random(n)), told, following[n]

    def _following_states(self) -> list[dict[str, Any] | None]:
        """Return, for each entry of the journal, the state that the next note tells."""
        found: list[dict[str, Any] | None] = []
        state = None
        for change in reversed(self.changes):
            note = change.note
            if note is not None and "state" in note:
                state = note["state"]
            found.append(state)
        return found[::-1]


def check(story: Story, folder: Path, told: Told, following: dict[str, Any] | None) -> None:
    """Start on what the disk holds, as the next process would, and send everything."""
    spool = open_spool(folder / "spool")
    try:
        found = state_of(spool)
        before = told.states[-1] if told.states else None
        if before is None:
            assert not found["entries"]
            assert not found["windows"]
            return
        assert not (folder / "spool" / "set-aside").exists()
        # A commit is there whole or not at all, and what had returned is there.
        assert found in (before, following)
        assert told.acknowledged <= set(found["entries"])
        assert not [e for e in found["entries"].values() if e[0] == "damaged"]
        held = {name: e for name, e in found["entries"].items() if e[0] == "kept" and not e[4]}
        assert {p.stem for p in (folder / "spool" / "blobs").iterdir()} == set(held)
        for name, entry in held.items():
            assert hashlib.sha256(spool.blob_path(name).read_bytes()).hexdigest() == entry[2]
        assert spool.sampler.total_bytes <= LIMIT
        assert all(spool.sampler.window_bytes(window) <= BUDGET for window in spool.thresholds())
        _send_everything(story, folder, spool, told, found)
    finally:
        spool.close()


def _send_everything(story: Story, folder: Path, spool: Any, told: Told, found: dict[str, Any]) -> None:
    bucket = DirectoryBucket(folder / "bucket")
    for key, path in told.bucket.items():
        bucket.put(key, path.read_bytes())
    records = {key: path.read_bytes() for key, path in told.bucket.items() if key.endswith("window.json")}
    uploader = Uploader(outbox_of(spool, story.key), bucket, clock=CLOCK)
    while uploader.send_next():
        pass
    assert all(bucket.get(key, max_bytes=1 << 24) == data for key, data in records.items())  # the same object again
    listed: list[str] = []
    for record in records_in(bucket, story.public_key):
        state = found["windows"].get(str(record.window))
        if state is not None:
            assert record.frames == state[2]
        sealed_of(record, bucket)  # everything that it lists is there
        listed += [e.sample_id for e in record.manifest]
        counted = [e for e in record.manifest if e.extra is None]
        released = {name for name, e in found["entries"].items() if e[4]}
        assert all(
            counts_for_estimates(e.weight, e.u, record.threshold) for e in counted if e.sample_id not in released
        )
    assert len(listed) == len(set(listed))  # double: 0
    evicted = {name for name, e in found["entries"].items() if e[0] == "evicted"}
    assert told.acknowledged - evicted <= set(listed)  # lost: 0


def test_whatever_the_cut_nothing_that_was_promised_is_lost(shim: Path, fast: Path):
    story = Story(fast, shim)
    assert {c.operation for c in story.changes} >= {"create", "write", "sync", "unlink", "truncate", "note"}
    last = [c.note for c in story.changes if c.note and "state" in c.note][-1]["state"]
    assert {e[0] for e in last["entries"].values()} == {"evicted", "uploaded"}
    assert last["windows"]["1"][1] == last["windows"]["2"][1] > 0  # the pool raised the thresholds of both
    cuts = 0
    for n, way, image, told, following in story.cuts():
        folder = fast / "cut"
        (folder / "spool").mkdir(parents=True)
        write_image(image, str(story.root), folder / "spool")
        try:
            check(story, folder, told, following)
        except BaseException as error:
            error.add_note(f"{way} after change {n}: {story.changes[n].operation} {story.changes[n].path}")
            raise
        shutil.rmtree(folder)
        cuts += 1
    assert cuts > 1000
