"""A repository that was set back: refused as a replay until it is signed above what devices saw
(`flows.releases.raised`)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import BadRelease
from edge_client.updates.outcome import Check
from flows.releases.raised import GAP, LEAST_FILE, ROLES, LeastVersions
from tests.unit.updates.release_world import World, digest, serve


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def set_back(world: World) -> Callable[[], None]:
    """Keep a copy of the bucket as it is now; what is returned puts it in the place of the bucket."""
    kept = world.folder / "kept"
    shutil.copytree(world.bucket.path, kept)

    def back() -> None:
        shutil.rmtree(world.bucket.path)
        shutil.copytree(kept, world.bucket.path)
        world.bucket = DirectoryBucket(world.bucket.path)

    return back


def test_devices_go_on_with_a_restored_repository_once_it_is_raised(world: World) -> None:
    older = world.release("e1")
    restore = set_back(world)
    world.release("e2", bias=0.3)
    device = world.device()
    assert device.check_once().check is Check.SWAPPED
    serve(device, 3)
    restore()
    assert device.check_once().check is Check.REFUSED  # it looks like a replay
    least = {role: version + GAP for role, version in world.repository.versions().items() if role in ROLES}
    assert list(world.repository.rise_above(least)) == []
    assert all(world.repository.versions()[role] >= least[role] for role in least)
    assert device.check_once().check is Check.SWAPPED
    assert device.slot.engine.sha256 == digest(older)  # what the backup's channel names
    serve(device, 3)
    world.release("e3", bias=0.6)
    assert device.check_once().check is Check.SWAPPED
    device.stop()


def test_what_a_person_signs_later_does_not_fall_below_either(world: World) -> None:
    world.release("e1")
    key = world.folder / "keys" / "engines.pem"
    away = key.rename(world.folder / "engines.pem")
    least = {role: version + GAP for role, version in world.repository.versions().items() if role in ROLES}
    assert list(world.repository.rise_above(least)) == ["engines"]
    assert world.repository.versions()["engines"] < GAP
    away.rename(key)
    world.release("e2", bias=0.3)
    assert world.repository.versions()["engines"] >= least["engines"]


def test_remembered_versions_only_rise_and_a_damaged_file_stops_signing(tmp_path: Path) -> None:
    least = LeastVersions(tmp_path)
    least.raise_to({"timestamp": 7})
    least.raise_to({"timestamp": 3, "snapshot": 2})
    assert LeastVersions(tmp_path).read() == {"timestamp": 7, "snapshot": 2}
    (tmp_path / LEAST_FILE).write_text("[")
    with pytest.raises(BadRelease, match=LEAST_FILE):
        least.read()
