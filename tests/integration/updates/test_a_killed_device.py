"""A device process killed with SIGKILL at every persisted step of an update, and started again."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_client.updates.invariants import broken_rules
from edge_client.updates.outcome import Check
from edge_client.updates.rules import Limits
from tests.unit.updates.release_world import World, digest, serve

SCRIPT = Path(__file__).with_name("killed_device.py")
STATES_OF_AN_UPDATE = 7  # start, offer, staged, trial begun, passed, loaded, confirmed
PIECES_OF_AN_UPDATE = (
    7  # timestamp, snapshot, rollouts, channel, engines, list of chunks, engine; the self-test is held
)


def run(folder: Path, when: str, n: int) -> subprocess.CompletedProcess[bytes]:
    """Run the device process to its end, whichever that is."""
    command = [sys.executable, str(SCRIPT), str(folder), when, str(n)]
    return subprocess.run(command, check=False, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cloud that has released e1, which the device runs, and e2."""
    folder = tmp_path_factory.mktemp("cloud")
    world = World(folder)
    world.release("e1")
    device = world.device()
    device.check_once()
    serve(device, 3)
    device.stop()
    world.release("e2")
    return folder


@pytest.mark.parametrize(
    ("when", "n"),
    [
        *(("before", n) for n in (3, 5, STATES_OF_AN_UPDATE)),
        *(("after", n) for n in range(1, STATES_OF_AN_UPDATE + 1)),
        *(("fetching", n) for n in (1, 4, PIECES_OF_AN_UPDATE)),
    ],
)
def test_a_device_killed_in_the_middle_of_an_update_serves_and_ends_up_updated(
    cloud: Path, tmp_path: Path, when: str, n: int
) -> None:
    folder = tmp_path / "world"
    shutil.copytree(cloud, folder)
    killed = run(folder, when, n)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    world = World(folder)
    device = world.device()
    assert broken_rules(device._keeper.state) == []
    assert device.status().engine_id in ("e1", "e2")
    assert serve(device, 1) == 0
    assert device.check_once().check in (Check.SWAPPED, Check.ON_PROBATION, Check.UP_TO_DATE)
    assert serve(device, 3) == 0
    status = device.status()
    assert (status.engine_id, status.phase, status.rollout.outcome) == ("e2", "steady", "confirmed")
    assert status.quarantined == ()
    stored = [digest(p.read_bytes()) for p in sorted((folder / "state/updates").glob("slot-*/engine.onnx"))]
    assert status.engine_sha256 in stored
    device.stop()


def test_the_points_above_are_all_the_points_there_are(cloud: Path, tmp_path: Path) -> None:
    for when, n in (("after", STATES_OF_AN_UPDATE + 1), ("fetching", PIECES_OF_AN_UPDATE + 1)):
        folder = tmp_path / when
        shutil.copytree(cloud, folder)
        ended = run(folder, when, n)
        assert ended.returncode == 0, ended.stderr.decode()


def test_a_device_that_is_killed_at_every_start_ends_at_its_factory_engine(cloud: Path, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    shutil.copytree(cloud, folder)
    for _ in range(Limits().service_starts):
        assert run(folder, "after", 1).returncode == -signal.SIGKILL
    world = World(folder)
    device = world.device()
    assert (device.status().engine_id, serve(device, 1)) == ("factory", 0)
    assert "crash loop" in device.status().quarantined[0].reason
    assert device.check_once().check is Check.SWAPPED  # e2 is another engine
    assert (serve(device, 3), device.status().engine_id) == (0, "e2")
    device.stop()
