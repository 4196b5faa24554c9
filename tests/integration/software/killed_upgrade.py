"""An upgrade that kills itself (SIGKILL) at a chosen point.

    python killed_upgrade.py FOLDER before|after N     at the Nth stored state
    python killed_upgrade.py FOLDER building N         after the Nth step of a build, before it is known to anybody

The self-check passes at once: it is tested where it is real. Exits with 0 when the upgrade ended before that point.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from edge_client.clock import SystemClock
from edge_client.contract.bucket import DirectoryBucket
from edge_client.software import environments
from edge_client.software.checking import CheckReport
from edge_client.software.protocol import Launched
from edge_client.software.rules import SoftwareState
from edge_client.software.store import SoftwareStore
from edge_client.software.upgrade import upgrade
from edge_client.updates.signed import SoftwareOffer
from edge_client.updates.updater import Updater
from tests.unit.updates.release_world import World, passing


def upgrade_in(folder: Path, store: SoftwareStore) -> str:
    """Look for an offer and do all that can be done about it; returns how it came out."""
    world = World(folder)
    found: list[SoftwareOffer | None] = []
    device = Updater.open(
        world.config(), world.bucket, clock=world.clock, tries=passing, on_software=lambda o, _: found.append(o)
    )
    device.check_once()
    device.stop()
    launched = Launched(
        folder=store.folder,
        base_python=Path(sys.executable),
        base_version="0.1.0",
        words=("serve",),
        working_folder=folder,
    )
    outcome = upgrade(
        found[-1],
        DirectoryBucket(world.bucket.path),
        launched=launched,
        store=store,
        clock=SystemClock(),
        version="0.1.0",
        checks=lambda *_, **__: CheckReport(passed=True, readable_by=1),
    )
    return f"{outcome.upgrade.value} {outcome.reason}"


def main() -> None:
    folder, when, n = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    left = [n]

    def reached() -> bool:
        left[0] -= 1
        return left[0] == 0

    class KillingStore(SoftwareStore):
        def save(self, state: SoftwareState) -> None:
            at = when != "building" and reached()
            if at and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            super().save(state)
            if at and when == "after":
                os.kill(os.getpid(), signal.SIGKILL)

    if when == "building":
        run = environments._run

        def killing_run(command, what):  # type: ignore[no-untyped-def]
            done = run(command, what)
            if reached():
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        environments._run = killing_run
    print(upgrade_in(folder, KillingStore(folder / "state" / "software")))


if __name__ == "__main__":
    main()
