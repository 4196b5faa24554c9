"""A process that exchanges engines under load and prints the memory it holds after each exchange, in MB.

python -m tests.integration.serving.swapping_process EXCHANGES [mapped]
"""

import json
import sys
import threading
from pathlib import Path

import numpy as np

from edge_client.engine import Engine
from edge_client.engine_slot import EngineSlot
from edge_client.memory import map_large_blocks
from tests.tiny_engine import tiny_engine

_WIDTH = 200_000  # an engine of 5 MB
_FRAMES = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), np.uint8)


def main() -> None:
    """Exchange the engine from one thread while others ask it."""
    if "mapped" in sys.argv:
        map_large_blocks()
    slot = EngineSlot(Engine.from_bytes(tiny_engine(embedding_width=_WIDTH)))
    stop = threading.Event()
    answered = [0] * len(_FRAMES)

    def work(own: int) -> None:
        while not stop.is_set():
            slot.run(_FRAMES[own])
            answered[own] += 1

    threads = [threading.Thread(target=work, args=(own,)) for own in range(len(answered))]
    for thread in threads:
        thread.start()
    found = []
    for number in range(int(sys.argv[1])):
        slot.swap(Engine.from_bytes(tiny_engine(embedding_width=_WIDTH, engine_id=f"e{number}"))).wait(60)
        enough = sum(answered) + len(answered)
        while sum(answered) < enough:
            stop.wait(0.01)
        resident = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS:"))
        found.append(int(resident.split()[1]) / 1024)
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
