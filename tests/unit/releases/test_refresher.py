"""The small process that keeps releases fresh, whatever else is away."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from edge_client.contract.bucket import DirectoryBucket, ObjectInfo
from edge_client.contract.errors import Unavailable
from edge_client.updates.outcome import Check
from flows.releases.refresher import LOOK_SECONDS, keep_fresh
from flows.releases.repository import ReleaseRepository
from tests.unit.updates.release_world import World


class Unsteady(DirectoryBucket):
    """A bucket that is away when it is told to."""

    away = False

    def get(self, key: str, *, max_bytes: int) -> bytes:
        if self.away:
            raise Unavailable("away")
        return super().get(key, max_bytes=max_bytes)

    def head(self, key: str) -> ObjectInfo | None:
        if self.away:
            raise Unavailable("away")
        return super().head(key)


def test_a_hundred_days_with_an_outage_of_twenty_and_no_device_ever_sees_old_metadata(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.release("e1")
    bucket = Unsteady(world.bucket.path)
    repository = ReleaseRepository(bucket, tmp_path / "keys", world.cloud_clock)
    device = world.device()
    begun, seen, waited = world.cloud_clock.at, [], []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        days = (world.cloud_clock.at - begun).days
        step = max(seconds, 5 * 86_400)  # a machine that sleeps for days at a time
        world.cloud_clock.advance(seconds=step)
        world.clock.at = world.cloud_clock.at
        bucket.away = 40 <= days < 60
        seen.append(device.check_once().check)
        return days >= 100

    keep_fresh(repository, wait, clock=lambda: world.cloud_clock.at)
    assert set(seen) <= {Check.SWAPPED, Check.ON_PROBATION, Check.UP_TO_DATE}
    assert max(waited) == LOOK_SECONDS
    assert [s for s in waited if s != LOOK_SECONDS] == [5, 10, 20, 40]  # longer each time
    left = repository.expiry()["timestamp"] - world.cloud_clock.at
    assert left > timedelta(days=20)


def test_it_needs_neither_mlflow_nor_prefect_nor_the_catalog() -> None:
    heavy = ("mlflow", "prefect", "sqlalchemy", "alembic", "numpy", "pandas", "torch", "onnx")
    code = f"import sys, flows.releases.refresher; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert found.stdout.strip() == "[]"
