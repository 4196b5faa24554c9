"""The cloud side of releases: keys, and a repository that a crash never breaks."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import BadEngine, BadRelease, ConfigError, Unavailable
from edge_client.contract.settings import DeviceSettings
from edge_client.updates.outcome import Check
from flows.releases.keys import ROLES, create_keys, loose_permissions
from flows.releases.repository import ReleaseRepository
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import INSPECTION, World, looking_away, selftest_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class DyingBucket(DirectoryBucket):
    """A bucket that goes away after so many puts."""

    def __init__(self, path: Path, puts: int) -> None:
        super().__init__(path)
        self.left = puts

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("away")
        super().put(key, data, content_type=content_type)


def test_keys_are_private_and_made_once(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    create_keys(keys)
    before = {p.name: p.read_bytes() for p in keys.iterdir()}
    create_keys(keys)
    assert {p.name: p.read_bytes() for p in keys.iterdir()} == before
    assert set(before) == {f"{role}.pem" for role in ROLES} | {"recipient.age"}
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in keys.iterdir()} == {0o600}
    assert loose_permissions(keys) == []
    (keys / "root.pem").chmod(0o644)
    assert loose_permissions(keys) == [f"{keys / 'root.pem'} has mode 644"]


def test_everything_is_idempotent(world: World) -> None:
    engine = world.release("e1")
    world.repository.set_settings("default", DeviceSettings())
    versions = world.repository.versions()
    world.repository.create()
    world.repository.publish_engine(INSPECTION, "e1", engine, selftest_of(engine))
    world.repository.set_settings("default", DeviceSettings())
    world.cloud_clock.advance(hours=1)
    world.repository.set_channel(world.channel(engine, "e1"))  # another time of issue is no other channel
    assert world.repository.versions() == versions
    assert world.repository.read_settings("default") == DeviceSettings()
    assert world.repository.read_settings("line-1") is None


def test_a_new_process_goes_on_from_the_bucket(world: World) -> None:
    world.release("e1")
    (world.folder / "keys" / "root.json").unlink()
    again = ReleaseRepository(world.bucket, world.folder / "keys", world.cloud_clock)
    assert again.root_bytes() == (world.bucket.path / "releases/metadata/1.root.json").read_bytes()
    channel = again.read_channel(INSPECTION, "stable")
    assert channel is not None
    assert channel.engine_id == "e1"


def test_an_engine_id_names_one_file_for_ever(world: World) -> None:
    world.release("e1")
    with pytest.raises(BadRelease, match="one file for ever"):
        world.publish(tiny_engine(engine_id="e1", bias=1.0), "e1")


def test_what_is_no_engine_for_this_inspection_is_not_approved(world: World) -> None:
    repository = ReleaseRepository(world.bucket, world.folder / "keys", world.cloud_clock)
    for engine in (b"no engine", tiny_engine(inspection="welds", engine_id="e1"), tiny_engine(engine_id="e2")):
        with pytest.raises(BadEngine):
            repository.publish_engine(INSPECTION, "e1", engine, selftest_of(tiny_engine()))
    with pytest.raises(BadRelease, match="self-test"):
        repository.publish_engine(INSPECTION, "e1", tiny_engine(engine_id="e1"), b"no self-test")


def test_an_engine_is_signed_only_after_its_self_test_really_passed(world: World) -> None:
    repository = ReleaseRepository(world.bucket, world.folder / "keys", world.cloud_clock)
    engine = tiny_engine(engine_id="e1")
    before = repository.versions()
    with pytest.raises(BadEngine, match=r"self-test did not pass: self-test answers differ by"):
        repository.publish_engine(INSPECTION, "e1", engine, selftest_of(tiny_engine(engine_id="e1", bias=2.0)))
    assert repository.versions() == before
    repository.publish_engine(INSPECTION, "e1", engine, selftest_of(engine))
    assert repository.versions()["engines"] == before["engines"] + 1


def test_a_channel_can_name_only_what_was_approved(world: World) -> None:
    engine = tiny_engine(engine_id="e1")
    channel = world.channel(engine, "e1")
    with pytest.raises(BadRelease, match="not approved"):
        world.repository.set_channel(channel)
    world.publish(engine, "e1")
    with pytest.raises(BadRelease, match="approved is"):
        world.repository.set_channel(replace(channel, engine_sha256="0" * 64))
    world.repository.set_channel(channel)
    assert world.repository.read_channel(INSPECTION, "stable") == channel


def test_rollouts_work_without_the_persons_keys(world: World) -> None:
    engine = tiny_engine(engine_id="e1")
    channel = world.publish(engine, "e1")
    for role in ("root", "targets", "engines"):
        (world.folder / "keys" / f"{role}.pem").unlink()
    world.repository.set_channel(channel)
    world.repository.refresh_timestamp()
    with pytest.raises(ConfigError, match="waits for approval"):
        world.publish(tiny_engine(engine_id="e2"), "e2")


def test_a_refresh_prolongs_all_that_is_online(world: World) -> None:
    world.release("e1")
    world.cloud_clock.advance(days=20)
    world.repository.refresh_timestamp()
    left = {role: (at - world.cloud_clock.now()).days for role, at in world.repository.expiry().items()}
    assert (left["timestamp"], left["snapshot"], left["rollouts"]) == (30, 30, 30)
    world.clock.at = world.cloud_clock.at
    assert world.device().check_once().check is Check.SWAPPED


@pytest.mark.parametrize("puts", range(11))
def test_a_crash_at_any_put_leaves_a_repository_that_devices_accept_and_that_can_go_on(world: World, puts: int) -> None:
    world.release("e1")
    device = world.device()
    device.check_once()
    dying = DyingBucket(world.bucket.path, puts)
    repository = ReleaseRepository(dying, world.folder / "keys", world.cloud_clock, inspect=looking_away)
    engine = tiny_engine(engine_id="e2")
    try:
        repository.publish_engine(INSPECTION, "e2", engine, selftest_of(engine))
        repository.set_channel(world.channel(engine, "e2"))
    except Unavailable:
        assert puts < 10
        assert device.check_once().check is Check.ON_PROBATION
        world.publish(engine, "e2")
        world.repository.set_channel(world.channel(engine, "e2"))
    assert device.check_once().check is Check.SWAPPED
    assert device.slot.engine.metadata.engine_id == "e2"


def test_another_installations_bucket_is_told_apart(world: World, tmp_path: Path) -> None:
    with pytest.raises(BadRelease, match="not signed by the root key"):
        ReleaseRepository(world.bucket, tmp_path / "other-keys", world.cloud_clock).create()
