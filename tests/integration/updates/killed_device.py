"""A device process that kills itself (SIGKILL) at a chosen point of an update.

    python killed_device.py FOLDER before|after N     at the Nth stored state
    python killed_device.py FOLDER fetching N         at the Nth piece it reads of an object in the bucket

Exits with 0 when the update ended before that point.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from edge_client.contract.bucket import DirectoryBucket
from edge_client.updates.rules import UpdateState
from edge_client.updates.store import UpdateStore
from tests.unit.updates.release_world import World, serve


def main() -> None:
    folder, when, n = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    left = [n]

    def reached() -> bool:
        left[0] -= 1
        return left[0] == 0

    class KillingStore(UpdateStore):
        def save(self, state: UpdateState) -> None:
            at = when != "fetching" and reached()
            if at and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            super().save(state)
            if at and when == "after":
                os.kill(os.getpid(), signal.SIGKILL)

    class KillingBucket(DirectoryBucket):
        def get_range(self, key: str, start: int, length: int) -> bytes:
            if when == "fetching" and reached():
                os.kill(os.getpid(), signal.SIGKILL)
            return super().get_range(key, start, length)

    world = World(folder)
    device = world.device(bucket=KillingBucket(world.bucket.path), store=KillingStore)
    device.check_once()
    serve(device, 3)
    device.stop()


main()
