"""A client inspects while its spool's disk does not answer, in a process under `shim.c`; what came of it is printed.

SHIM_ROOT=FOLDER/state LD_PRELOAD=shim.so python -m tests.integration.capture.crash.held FOLDER
"""

from __future__ import annotations

import ctypes
import json
import sqlite3
import sys
from pathlib import Path

from edge_client import Client
from tests.unit.capture.device import Bundle, noise

FRAMES = 80


def main() -> None:
    """Print what was answered, and what the spool holds after the disk came back."""
    folder = Path(sys.argv[1])
    shim = ctypes.CDLL(None)
    bundle = Bundle(folder, capture="queue_frames = 4\nduplicate_distance = 0\nwindow_seconds = 600.0\n")
    frames = [noise(i) for i in range(FRAMES)]
    with Client.from_config(bundle.config) as client:
        calm = [client.predict(frame, capture=False).probabilities for frame in frames]
        shim.shim_hold(1)
        held = [client.predict(frame).probabilities for frame in frames]  # would hang here if it waited
        loop = client._loop
        assert loop is not None
        acknowledged = loop.capture.acknowledged  # `status` may wait for the disk, an inspection may not
        shim.shim_hold(0)
    database = next(folder.rglob("spool.db"))
    windows = sqlite3.connect(database).execute("SELECT tau, tally FROM windows").fetchall()
    rows = sqlite3.connect(database).execute("SELECT weight / u FROM entries WHERE state != 'evicted'").fetchall()
    tallies = [json.loads(tally) for _, tally in windows]
    print(
        json.dumps(
            {
                "same": calm == held,
                "acknowledged_while_held": acknowledged,
                "frames": sum(t["frames"] for t in tallies),
                "overload": sum(t["overload"] for t in tallies),
                "taus": [tau for tau, _ in windows],
                "priorities": [q for (q,) in rows],
            }
        )
    )


if __name__ == "__main__":
    main()
