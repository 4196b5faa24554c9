"""An upgrade killed with SIGKILL at every stored state and inside the build, and begun again: there is always a client
to start, and in the end the new one.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.client_wheels import client_wheel, wheel_name
from edge_client.software.rules import Environment, Phase, Place, SoftwareState, broken_rules
from edge_client.software.store import SoftwareStore
from flows import software
from tests.unit.updates.release_world import World

SCRIPT = Path(__file__).with_name("killed_upgrade.py")
STATES = 3  # the place emptied, the self-check counted, staged
POINTS = [("after", 1), ("building", 3), ("before", STATES), ("after", STATES)]

UPGRADED_BEFORE = SoftwareState(
    active=Place.A,
    good=Place.A,
    a=Environment(version="0.1.5", digest="a5" * 32, confirmed=True),
    b=Environment(version="0.1.4", digest="a4" * 32, confirmed=True),
)


def run(folder: Path, when: str, n: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(folder), when, str(n)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cloud")
    world = World(folder)
    software.approve(world.repository, {wheel_name("0.2.0"): client_wheel("0.2.0")})
    software.choose(world.repository, "0.2.0", datetime(2026, 6, 2, tzinfo=UTC))
    return folder


@pytest.mark.parametrize(("when", "n"), POINTS)
def test_an_upgrade_killed_anywhere_leaves_a_client_to_start_and_ends_well(
    cloud: Path, tmp_path: Path, when: str, n: int
) -> None:
    folder = tmp_path / "world"
    shutil.copytree(cloud, folder)
    store = SoftwareStore(folder / "state" / "software")
    store.save(UPGRADED_BEFORE)
    killed = run(folder, when, n)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    state = store.load()
    assert broken_rules(state) == []
    assert (state.active, state.good, state.a) == (Place.A, Place.A, UPGRADED_BEFORE.a)
    if (when, n) == ("after", STATES):
        assert state.phase is Phase.STAGED  # what waits for the launcher is whole
    else:
        assert state.b is None  # nobody may start what is being built over
    again = run(folder, "after", STATES + 5)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("staged")
    state = store.load()
    assert (state.phase, broken_rules(state)) == (Phase.STAGED, [])
    place = state.staged()
    assert place is not None
    python = store.environment(place) / "bin" / "python"
    ask = "import edge_client.version as v; print(v.VERSION, v.__file__)"
    said = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, check=True).stdout
    assert said.startswith("0.2.0 ")
    assert str(folder) in said
