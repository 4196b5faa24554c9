"""What an attacker, or an accident, may put in front of a device. Each is refused with its reason, and nothing
changes.

The matrix of attacks on releases is `tests/integration/updates/attacks.py`; here is what is beside it: the device's own
files, odd documents, floors, and the repository's own side.
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import BadRelease, ConfigError
from edge_client.contract.releases import channel_target, engine_target, settings_target
from edge_client.contract.settings import DeviceSettings
from edge_client.updates.outcome import Check, UpdateOutcome
from edge_client.updates.slots import Slots
from edge_client.updates.trial import try_engine
from edge_client.updates.updater import Updater
from flows.releases.metadata import ReleaseMetadata, stored_at, target_file, to_json
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import World, digest, selftest_of, serve


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A cloud with e1 released, and nothing else."""
    world = World(tmp_path)
    world.release("e1")
    return world


@pytest.fixture
def device(world: World) -> Updater:
    """A device that runs e1, confirmed."""
    device = world.device()
    assert device.check_once().check is Check.SWAPPED
    serve(device, 3)
    return device


def refused(device: Updater, because: str, bucket: DirectoryBucket | None = None) -> UpdateOutcome:
    """Check that a device refuses what the bucket holds, and that nothing changes."""
    folder, before = device._config.state, (device._keeper.state, device.slot.engine.sha256)
    files = _slot_files(folder)
    outcome = device.check_once(bucket)
    assert (outcome.check, because in outcome.reason) == (Check.REFUSED, True), outcome
    after = device._keeper.state
    assert (after.active, after.good, after.a, after.b, after.quarantine) == (
        before[0].active,
        before[0].good,
        before[0].a,
        before[0].b,
        before[0].quarantine,
    )
    assert device.slot.engine.sha256 == before[1]
    assert _slot_files(folder) == files
    assert outcome.reason in device.status().problems
    return outcome


def publish_evil(world: World, role: str, path: str, data: bytes) -> None:
    """Sign a target with a stolen key of `role`, past every check of the repository."""
    repository = world.repository
    state: ReleaseMetadata = repository._load()
    file = target_file(path, data, {})
    world.bucket.put(stored_at(file), data)
    state.of(role).signed.targets[path] = file
    repository._commit(state, [role])


def stored_engine(world: World, engine: bytes, engine_id: str) -> Path:
    """Where the bucket keeps an engine."""
    return world.bucket.path / f"releases/targets/engines/solar-cells/{digest(engine)}.{engine_id}.onnx"


def test_metadata_that_a_foreign_key_signed_is_refused(world: World, device: Updater, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    other.release("e9")
    refused(device, "release metadata does not verify", other.bucket)


def test_a_clock_at_1970_takes_what_is_valid_and_refuses_what_is_old(world: World, tmp_path: Path) -> None:
    world.clock.at = datetime(1970, 1, 1, tzinfo=UTC)
    device = world.device()
    assert device.check_once().check is Check.SWAPPED
    serve(device, 3)
    stale = tmp_path / "stale"
    shutil.copytree(world.bucket.path, stale)
    world.cloud_clock.advance(days=90)
    world.repository.refresh_timestamp()
    assert device.check_once().check is Check.UP_TO_DATE  # the signed time is remembered
    timestamp = next((device._config.state / "metadata").glob("timestamp.json"))
    timestamp.unlink()
    refused(device, "expired", DirectoryBucket(stale))


def test_a_clock_at_1970_is_held_up_by_the_build_date(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cloud_clock.at = datetime(2024, 1, 1, tzinfo=UTC)  # long before this client was built
    world.clock.at = datetime(1970, 1, 1, tzinfo=UTC)
    world.release("e1")
    refused(world.device(), "has expired")


def test_an_oversized_engine_is_refused_before_it_is_fetched(world: World) -> None:
    device = world.device(max_engine_bytes=1000)
    refused(device, "at most 1000 are installed")
    assert not (device._config.state / "downloads").exists()


def test_an_engine_of_another_inspection_under_an_approved_name_is_quarantined(world: World) -> None:
    device = world.device(tries=try_engine)
    evil = tiny_engine(engine_id="e9", inspection="welds")
    channel = world.channel(evil, "e9")
    publish_evil(world, "engines", channel.engine_path, evil)
    publish_evil(world, "engines", channel.selftest_path, selftest_of(evil))
    publish_evil(world, "rollouts", channel_target("solar-cells", "stable"), channel.to_json())
    assert device.check_once().check is Check.QUARANTINED
    assert "is 'e9' for 'welds'" in device.status().quarantined[0].reason
    assert device.slot.engine.sha256 == digest(world.factory)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_slot_that_is_a_link_is_refused(world: World, device: Updater, tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "engine.onnx").write_bytes(b"precious")
    state = device._config.state
    if what == "folder":
        shutil.rmtree(state / "slot-b")
        (state / "slot-b").symlink_to(elsewhere)
        world.release("e2")
        outcome = device.check_once()
        assert (outcome.check, "is a link" in outcome.reason) == (Check.RETRY, True)
    else:
        device.stop()
        (elsewhere / "engine.onnx").write_bytes((state / "slot-a/engine.onnx").read_bytes())
        (state / "slot-a/engine.onnx").unlink()
        (state / "slot-a/engine.onnx").symlink_to(elsewhere / "engine.onnx")
        device = world.device()
        assert device.slot.engine.sha256 == digest(world.factory)
        assert "no link" in device.status().problems[0]
    assert device.status().quarantined == ()
    assert [p.name for p in elsewhere.iterdir()] == ["engine.onnx"]


def test_a_download_that_is_a_link_is_refused(world: World, device: Updater, tmp_path: Path) -> None:
    engine = world.release("e2")
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (device._config.state / "downloads" / f"{digest(engine)}.part").symlink_to(precious)
    assert device.check_once().check is Check.RETRY
    assert precious.read_bytes() == b"precious"


def test_a_state_folder_that_is_a_link_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state/updates").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        world.device()
    assert os.listdir(tmp_path / "elsewhere") == []


def test_an_exchanged_slot_file_is_left_for_the_last_good_engine(world: World, device: Updater) -> None:
    device.stop()
    evil = tiny_engine(engine_id="e1", bias=9.0)
    assert len(evil) == (device._config.state / "slot-a/engine.onnx").stat().st_size  # only the digest can tell
    (device._config.state / "slot-a/engine.onnx").write_bytes(evil)
    device = world.device()
    assert device.slot.engine.sha256 == digest(world.factory)
    assert device.check_once().check is Check.SWAPPED  # e1 is fetched again
    assert device.slot.engine.metadata.engine_id == "e1"


def test_settings_with_unknown_keys_are_not_taken_over_and_do_not_stop_releases(world: World, device: Updater) -> None:
    world.repository.set_settings("line-1", DeviceSettings(byte_budget=1))
    device.check_once()
    publish_evil(world, "rollouts", settings_target("line-1"), b'{"byte_budgte": 5}')
    world.release("e2")
    assert device.check_once().check is Check.SWAPPED
    assert device.settings().of("capture.byte_budget", None) == 1
    assert any("byte_budgte" in problem for problem in device.status().problems)


@pytest.mark.parametrize("document", [b"", b"[]", b'{"inspection": "../x"}', b"\xff" * 50, b"[" * 5000])
def test_a_broken_channel_document_is_refused(world: World, device: Updater, document: bytes) -> None:
    publish_evil(world, "rollouts", channel_target("solar-cells", "stable"), document)
    refused(device, "")


def test_floors_belong_to_keys_so_that_a_rotation_undoes_what_a_thief_raised(world: World, device: Updater) -> None:
    store = device._store
    store.raise_floors({("timestamp", "stolen"): 1 << 40})
    assert (store.floor("timestamp", "stolen"), store.floor("timestamp", "new")) == (1 << 40, 0)
    store.raise_floors({("timestamp", "stolen"): 7})
    assert store.floor("timestamp", "stolen") == 1 << 40


def test_the_bucket_cannot_have_its_own_targets_signed(world: World) -> None:
    """Who can write to the bucket, without any key, does not get through the repository either."""
    state = world.repository._load()
    path = engine_target("solar-cells", "evil")
    state.engines.signed.targets[path] = target_file(path, b"evil", {})
    name = f"{state.engines.signed.version}.engines.json"
    world.bucket.put(f"releases/metadata/{name}", to_json(state.engines))
    with pytest.raises(BadRelease, match="does not verify"):
        world.release("e2")


def _slot_files(folder: Path) -> dict[str, bytes]:
    slots = Slots(folder)
    return {str(p): p.read_bytes() for p in sorted(slots.folder.glob("slot-*/*"))}
