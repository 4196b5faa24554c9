"""A device's updates, played by a child process under `shim.c`; what it promised is noted between its changes on disk.

    SHIM_ROOT=FOLDER/state SHIM_JOURNAL=FILE LD_PRELOAD=shim.so python -m tests.integration.updates.power.story FOLDER

The first engine comes whole, the second as a delta, the third goes wrong on probation, the fourth release is the
operator's rollback to the first; between them the process ends and starts again. The cloud of each release stays in
``FOLDER/cloud-N``.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_client.updates.outcome import Check
from edge_client.updates.rules import UpdateState
from edge_client.updates.store import UpdateStore, _encode
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import DARK, World, serve

WIDE = 700  # makes a tensor large enough that a delta saves something
Note = Callable[[dict[str, Any]], None]


def noting_store(note: Note) -> type[UpdateStore]:
    """A store that says what it has promised: a state and floors are said when they hold."""

    class NotingStore(UpdateStore):
        def save(self, state: UpdateState) -> None:
            note({"saves": _encode(state)})
            super().save(state)
            note({"saved": _encode(state)})

        def raise_floors(self, versions: dict[tuple[str, str], int]) -> None:
            super().raise_floors(versions)
            note({"floors": [[role, keys, version] for (role, keys), version in versions.items()]})

    return NotingStore


def play(folder: Path, note: Note) -> None:
    """Play the story."""
    world = World(folder)
    (folder / "root.json").write_bytes(world.repository.root_bytes())
    store = noting_store(note)

    def released(n: int) -> None:
        shutil.copytree(world.bucket.path, folder / f"cloud-{n}")
        note({"cloud": n, "at": world.clock.at.isoformat()})

    note({"cloud": 0, "at": world.clock.at.isoformat()})
    first = world.release("e1", embedding_width=WIDE)
    released(1)
    device = world.device(store=store)
    assert device.check_once().check is Check.SWAPPED
    assert serve(device, 3) == 0
    device.stop()
    world.release("e2", embedding_width=WIDE, bias=0.5)
    released(2)
    device = world.device(store=store)
    assert device.check_once().check is Check.SWAPPED
    assert serve(device, 3) == 0
    world.release("e3", embedding_width=WIDE, nan=True)
    released(3)
    assert device.check_once().check is Check.SWAPPED
    serve(device, 1, DARK)
    assert device.check_once().check is Check.QUARANTINED
    device.stop()
    world.cloud_clock.advance(minutes=1)
    world.repository.set_channel(world.channel(first, "e1"))
    released(4)
    device = world.device(store=store)
    assert device.check_once().check in (Check.SWAPPED, Check.RETRY)
    assert device.check_once().check in (Check.SWAPPED, Check.ON_PROBATION, Check.UP_TO_DATE)
    serve(device, 3)
    assert device.status().engine_id == "e1"
    device.stop()


def engines() -> dict[str, bytes]:
    """The engines of the story by id."""
    return {
        "factory": tiny_engine(engine_id="factory"),
        "e1": tiny_engine(engine_id="e1", embedding_width=WIDE),
        "e2": tiny_engine(engine_id="e2", embedding_width=WIDE, bias=0.5),
        "e3": tiny_engine(engine_id="e3", embedding_width=WIDE, nan=True),
    }


def main() -> None:
    """Play the story and note it in the journal."""
    shim = ctypes.CDLL(None)
    play(Path(sys.argv[1]), lambda value: shim.shim_note(json.dumps(value).encode()))


if __name__ == "__main__":
    main()
