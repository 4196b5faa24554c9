"""Every cut of the story of `story.py`, and what the device makes of it when it starts again.

A cut is *killed*, *torn*, *dark* or *partly dark* (`disk.py`). After each one:

1. The stored state is the last that was promised or the one that was being stored; floors hold.
2. The engine in service is the one that this state names: no other ever runs. It answers at once.
3. With the next check the device comes to where the cloud wants it.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from edge_client.contract.bucket import DirectoryBucket
from edge_client.updates.outcome import UpdateStatus
from edge_client.updates.rules import Limits, Place, UpdateState
from edge_client.updates.store import UpdateStore, _decode
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig
from tests.integration.capture.crash.disk import Change, Disk, Held, read_journal, write_image
from tests.integration.updates.power.story import engines
from tests.unit.updates.release_world import DARK, INSPECTION, HandClock, digest, passing, serve

Image = dict[str, Held]
WANTED = {1: "e1", 2: "e2", 3: "e2", 4: "e1"}  # what a device comes to run, by the release in force


@dataclass(slots=True)
class Promised:
    """What the process had said up to a cut."""

    cloud: int = 0
    at: str = ""
    state: dict[str, Any] | None = None
    floors: dict[tuple[str, str], int] = field(default_factory=dict)
    being_saved: dict[str, Any] | None = None

    def hear(self, note: dict[str, Any]) -> None:
        """Take a note."""
        if "cloud" in note:
            self.cloud, self.at = note["cloud"], note["at"]
        if "saves" in note:
            self.being_saved = note["saves"]
        if "saved" in note:
            self.state, self.being_saved = note["saved"], None
        for role, keys, version in note.get("floors", ()):
            self.floors[role, keys] = max(version, self.floors.get((role, keys), 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One cut.

    Attributes:
        n: After which change.
        way: How.
        change: What the last change was, for messages.
        image: What the disk holds.
        promised: What the process had said.
    """

    n: int
    way: str
    change: str
    image: Image
    promised: Promised


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a device after a cut; texts are empty when all is well.

    Attributes:
        stranded: Why it did not serve, or did not come to where the cloud wants it.
        wrong_engine: Which other engine ran.
        broken_promise: What was stored and is not there.
    """

    stranded: str = ""
    wrong_engine: str = ""
    broken_promise: str = ""

    @property
    def well(self) -> bool:
        """Nothing to say."""
        return self == Verdict()


class PlayedStory:
    """The journal of one played story.

    Args:
        folder: For the story's world; best in memory.
        shim: The library that writes the journal.
    """

    def __init__(self, folder: Path, shim: Path) -> None:
        self.folder = folder.resolve()
        self.root = self.folder / "state"
        self.root.mkdir(parents=True)
        journal = self.folder / "journal"
        environment = {"LD_PRELOAD": str(shim), "SHIM_ROOT": str(self.root), "SHIM_JOURNAL": str(journal)}
        subprocess.run(
            [sys.executable, "-m", "tests.integration.updates.power.story", str(self.folder)],
            cwd=Path(__file__).parents[4],
            env={**os.environ, **environment},
            check=True,
        )
        self.changes: list[Change] = [c for c in read_journal(journal) if not c.path.endswith("-shm")]
        self.engines = {digest(data): name for name, data in engines().items()}

    def cuts(self, seeds: int = 1) -> Iterator[Cut]:
        """Yield every cut; those that leave the same disk after the same promises come once.

        Args:
            seeds: How often what a power cut leaves of the changes that were not synced is drawn.
        """
        disk, promised, seen = Disk(str(self.root)), Promised(), set()
        for n, change in enumerate(self.changes):
            if change.note is not None:
                promised.hear(change.note)
                continue
            images = {"torn": disk.torn(change)} if change.operation == "write" else {}
            disk.apply(change)
            images |= {"killed": disk.killed(), "dark": disk.dark(None)}
            drawn = [("partly dark", disk.dark(random.Random(seeds * n + draw))) for draw in range(seeds)]
            for way, image in [*images.items(), *drawn]:
                key = (_digest_of(image), repr(promised.state), repr(promised.being_saved), promised.cloud)
                if key in seen:
                    continue
                seen.add(key)
                where = f"{change.operation} {change.path.removeprefix(str(self.root))}"
                yield Cut(n=n, way=way, change=where, image=image, promised=promised)

    def restart(self, cut: Cut, folder: Path) -> Verdict:
        """Start a device on what the disk holds, as the next process would."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_image(cut.image, str(self.root), folder)
        promised = cut.promised
        store = UpdateStore(folder / "updates" / "updates.db")
        state, aside = store.load(), store.set_aside
        lost = [key for key, version in promised.floors.items() if store.floor(*key) < version]
        store.close()
        allowed = [_decode(s) for s in (promised.state, promised.being_saved) if s is not None]
        if aside is not None or lost or (state not in allowed and promised.state is not None):
            return Verdict(broken_promise=f"set aside: {aside}, floors lost: {lost}, state {state}")
        named = self._name(state)
        try:
            device = self._open(folder, promised)
        except Exception as error:
            return Verdict(stranded=f"did not start: {error!r}")
        try:
            served = self.engines.get(device.slot.engine.sha256, "?")
            if served != named:
                return Verdict(wrong_engine=f"{served} runs, the state names {named}: {device.status().problems}")
            if serve(device, 1) != 0:
                return Verdict(stranded="does not answer")
            return self._goes_on(device, promised)
        finally:
            device.stop()

    def _goes_on(self, device: Updater, promised: Promised) -> Verdict:
        if not promised.cloud:
            return Verdict()
        for _ in range(3):  # a damaged leftover may cost a check
            device.check_once()
            for _ in range(4):
                serve(device, 1, DARK)
        status = device.status()
        if status.engine_id != WANTED[promised.cloud] or status.phase != "steady":
            return Verdict(stranded=f"came to {status.engine_id}, {status.phase}: {status.last_check}")
        if promised.cloud >= 3 and self._quarantined(status) - {"e3"}:
            return Verdict(stranded=f"quarantined {self._quarantined(status)}")
        return Verdict()

    def _quarantined(self, status: UpdateStatus) -> set[str]:
        return {self.engines.get(q.engine_sha256, "?") for q in status.quarantined}

    def _name(self, state: UpdateState) -> str:
        held = state.at(state.active)
        assert held is not None or state.active is Place.FACTORY
        return "factory" if held is None else held.engine_id

    def _open(self, folder: Path, promised: Promised) -> Updater:
        config = UpdaterConfig(
            device="line-1",
            inspection=INSPECTION,
            channel="stable",
            state=folder / "updates",
            factory_engine=self.folder / "factory.onnx",
            root=(self.folder / "root.json").read_bytes(),
            limits=Limits(probation_frames=3),
        )
        cloud = DirectoryBucket(self.folder / f"cloud-{promised.cloud}")
        clock = HandClock(datetime.fromisoformat(promised.at))
        return Updater.open(config, cloud, clock=clock, random=Random(0), tries=passing)


def _digest_of(image: Image) -> str:
    whole = hashlib.sha256()
    for name in sorted(image):
        held = image[name]
        whole.update(f"{name}\0{type(held).__name__}\0".encode())
        whole.update(hashlib.sha256(held if isinstance(held, bytes) else str(held).encode()).digest())
    return whole.hexdigest()
