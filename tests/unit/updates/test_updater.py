"""The updater on a real repository, with real engines; the trial is a child process where a test is about it."""

import argparse
import json
import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge_client.cli import update as update_command
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import BadEngine, ConfigError, Refused, Unavailable
from edge_client.contract.settings import DeviceSettings
from edge_client.engine import Engine
from edge_client.settings_in_force import EffectiveSettings
from edge_client.updates.outcome import Check
from edge_client.updates.rules import Limits
from edge_client.updates.trial import TrialLimits, TrialOrder, TrialReport, try_engine
from edge_client.updates.updater import Updater
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import BRIGHT, DARK, INSPECTION, World, digest, selftest_of, serve


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Unreachable(DirectoryBucket):
    """A bucket whose network is away after so many calls."""

    def __init__(self, path: Path, calls: int) -> None:
        super().__init__(path)
        self.calls = calls

    def get(self, key: str, *, max_bytes: int) -> bytes:
        self.count()
        return super().get(key, max_bytes=max_bytes)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        self.count()
        return super().get_range(key, start, length)

    def count(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise Unavailable("the network is away")


def test_without_a_release_the_factory_engine_serves(world: World) -> None:
    device = world.device()
    assert device.check_once().check is Check.NO_RELEASE
    assert device.slot.engine.sha256 == digest(world.factory)
    assert (device.status().place, device.status().rollout.outcome) == ("factory", "none")


def test_a_release_is_tried_in_a_child_process_swapped_in_and_confirmed(world: World) -> None:
    device = world.device(tries=try_engine)
    engine = world.release("e1")
    assert device.check_once().check is Check.SWAPPED
    assert device.slot.engine.sha256 == digest(engine)
    assert device.status().rollout.outcome == "probation"
    assert serve(device, 3) == 0
    status = device.status()
    assert (status.phase, status.rollout.outcome, status.rollout.engine_id) == ("steady", "confirmed", "e1")
    assert status.metadata_versions["timestamp"] == world.repository.versions()["timestamp"]
    assert device.check_once().check is Check.UP_TO_DATE


def test_a_confirmed_engine_serves_after_a_restart_without_network(world: World) -> None:
    engine = world.release("e1")
    device = world.device()
    device.check_once()
    serve(device, 3)
    device.stop()
    shutil.rmtree(world.bucket.path)
    device = world.device()
    assert device.slot.engine.sha256 == digest(engine)
    assert device.check_once().check is Check.OFFLINE
    assert device.status().problems == ()


def test_an_engine_that_goes_wrong_on_probation_is_left_at_once_and_quarantined(world: World) -> None:
    good = world.release("e1")
    device = world.device()
    device.check_once()
    serve(device, 3)
    bad = world.release("e2", nan=True)
    device.check_once()
    with device.slot.lease() as engine, pytest.raises(BadEngine):
        engine.run(DARK)
    assert device._keeper.observe(False, 1.0, engine.sha256)
    assert device.slot.engine.sha256 == digest(good)  # at once: the request can be repeated
    assert device.status().phase == "probation"  # nothing is stored yet
    device._keeper.settle()
    status = device.status()
    assert (status.rollout.outcome, status.quarantined[0].engine_sha256) == ("quarantined", digest(bad))
    assert device.check_once().check is Check.QUARANTINED
    device.stop()
    assert world.device().slot.engine.sha256 == digest(good)


def test_a_slow_engine_is_left_on_probation(world: World) -> None:
    world.release("e1")
    device = world.device(limits=Limits(probation_frames=50, latency_ms=100.0, latency_frames=5))
    device.check_once()
    for _ in range(5):
        device.observe(True, 500.0)
    assert device.slot.engine.sha256 == digest(world.factory)
    assert "median latency 500 ms" in device.status().quarantined[0].reason


def test_late_answers_of_the_engine_before_do_not_count_for_the_new_one(world: World) -> None:
    device = world.device()
    world.release("e1")
    device.check_once()
    for _ in range(10):
        device.observe(False, 1.0, digest(world.factory))
    assert device.status().phase == "probation"


def test_the_newest_release_wins_over_one_on_probation(world: World) -> None:
    device = world.device()
    world.release("e1")
    device.check_once()
    newest = world.release("e2")
    assert device.check_once().check is Check.SWAPPED
    serve(device, 3)
    assert device.slot.engine.sha256 == digest(newest)
    assert device.status().quarantined == ()


def test_an_operators_rollback_is_a_new_channel_that_names_an_older_engine(world: World) -> None:
    device = world.device()
    older = world.release("e1")
    device.check_once()
    serve(device, 3)
    world.release("e2")
    device.check_once()
    serve(device, 3)
    world.cloud_clock.advance(minutes=5)
    world.repository.set_channel(world.channel(older, "e1"))
    assert device.check_once().check is Check.SWAPPED
    assert device.slot.engine.sha256 == digest(older)
    assert device.status().rollout.outcome == "confirmed"


def test_an_engine_that_fails_in_service_many_times_in_a_row_is_left(world: World) -> None:
    device = world.device()
    world.release("e1")
    device.check_once()
    serve(device, 3)
    for _ in range(Limits().service_failures):
        device.observe(False, 1.0)
    assert device.slot.engine.sha256 == digest(world.factory)
    assert device.status().rollout.outcome == "quarantined"


def test_an_engine_that_was_left_is_a_problem_until_a_newer_one_is_confirmed(world: World) -> None:
    device = world.device()
    older = world.release("e1")
    device.check_once()
    serve(device, 3)
    for _ in range(Limits().service_failures):
        device.observe(False, 1.0)
    assert "'e1' was left" in device.status().problems[0]
    newer = world.release("e2")
    assert device.check_once().check is Check.SWAPPED
    assert "'e1' was left" in device.status().problems[0]  # the newer one is on probation yet
    serve(device, 3)
    assert device.slot.engine.sha256 == digest(newer)
    assert device.status().problems == ()
    assert device.status().quarantined[0].engine_sha256 == digest(older)  # that is remembered


def test_a_denied_engine_is_left_and_the_settings_hold_after_a_restart(world: World) -> None:
    taken: list[EffectiveSettings] = []
    device = Updater.open(world.config(), world.bucket, clock=world.clock, tries=_passes)
    device.signed.listen(taken.append)
    engine = world.release("e1")
    device.check_once()
    serve(device, 3)
    world.repository.set_settings("line-1", DeviceSettings(advisory=True, deny_engines=(digest(engine),)))
    assert device.check_once().check is Check.REFUSED
    assert device.slot.engine.sha256 == digest(world.factory)
    assert [s.advisory for s in taken] == [True]
    device.stop()
    assert world.device(bucket=Unreachable(world.bucket.path, 0)).settings().advisory


def test_settings_of_the_device_win_over_those_for_all(world: World) -> None:
    device = world.device()
    assert not device.settings().values
    world.repository.set_settings("default", DeviceSettings(byte_budget=1))
    device.check_once()
    assert device.settings().of("capture.byte_budget", None) == 1
    world.repository.set_settings("line-1", DeviceSettings(byte_budget=2))
    device.check_once()
    assert device.settings().of("capture.byte_budget", None) == 2


@pytest.mark.parametrize("calls", range(9))
def test_a_network_that_goes_away_is_tried_again_and_never_a_quarantine(world: World, calls: int) -> None:
    engine = world.release("e1")
    device = world.device(bucket=Unreachable(world.bucket.path, calls))
    assert device.check_once().check is Check.OFFLINE
    assert device.slot.engine.sha256 == digest(world.factory)
    assert device.status().quarantined == ()
    assert device.check_once(world.bucket).check is Check.SWAPPED
    assert device.slot.engine.sha256 == digest(engine)


def test_a_device_whose_credentials_were_revoked_goes_on_and_says_so(world: World) -> None:
    class Revoked(DirectoryBucket):
        def get(self, key: str, *, max_bytes: int) -> bytes:
            raise Refused("these credentials were revoked")

    device = world.device(bucket=Revoked(world.bucket.path))
    assert device.check_once().check is Check.OFFLINE
    assert device.status().problems == ("these credentials were revoked",)
    assert serve(device, 1) == 0


def test_a_machine_that_cannot_start_a_trial_is_no_fault_of_the_engine(world: World) -> None:
    def no_process(order: TrialOrder) -> TrialReport:
        raise OSError("no more processes")

    world.release("e1")
    device = world.device(tries=no_process)
    for _ in range(5):
        assert device.check_once().check is Check.RETRY
    assert device.status().quarantined == ()


def test_a_crash_loop_ends_at_the_last_good_engine(world: World) -> None:
    good = world.release("e1")
    device = world.device()
    device.check_once()
    serve(device, 3)
    world.release("e2")
    device.check_once()
    _crash(device)
    for _ in range(Limits().probation_starts):
        device = world.device()
        assert device.status().engine_id == "e2"
        _crash(device)
    device = world.device()
    assert device.slot.engine.sha256 == digest(good)
    assert "crash loop" in device.status().quarantined[0].reason


def test_a_forgiven_engine_gets_another_chance(world: World) -> None:
    bad = world.release("e1")
    device = world.device()
    device.check_once()
    device.observe(False, 1.0)
    assert device.check_once().check is Check.QUARANTINED
    assert device.forgive(digest(bad))
    assert device.check_once().check is Check.SWAPPED


@pytest.mark.parametrize("year", [1970, 2099])
def test_a_quarantine_ends_by_the_clouds_time_whatever_the_devices_clock_says(world: World, year: int) -> None:
    bad = world.release("e1", nan=True)
    device = world.device()
    device.check_once()
    device.observe(False, 1.0)
    for days, expected in ((0, Check.QUARANTINED), (29, Check.QUARANTINED), (2, Check.SWAPPED)):
        world.cloud_clock.advance(days=days)
        world.repository.refresh_timestamp()
        device.stop()
        world.clock.at = world.cloud_clock.at if year == 2099 else datetime(1970, 1, 1, tzinfo=UTC)
        device = world.device()
        if year == 2099:
            world.clock.at = datetime(2099, 1, 1, tzinfo=UTC)
            assert device.check_once().check is Check.REFUSED  # all looks expired: nothing changes
            assert [q.engine_sha256 for q in device.status().quarantined] == [digest(bad)]
            world.clock.at = world.cloud_clock.at
        assert device.check_once().check is expected
    device.stop()


def test_engines_are_warmed_up_with_a_frame_of_the_line_s_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next engine at once; after a restart, and for the engine to fall back to, too."""
    shapes = []
    run = Engine.run
    monkeypatch.setattr(Engine, "run", lambda self, frames: shapes.append(frames.shape) or run(self, frames))
    device = world.device()
    device.slot.frame_size = (48, 20)
    world.release("e1")
    device.check_once()
    device.stop()
    device = world.device()
    alone = [shape for shape in shapes if shape[0] == 1]  # the self-test of the trial asks several at once
    assert alone == [(1, 64, 64, 3), *[(1, 48, 20, 3)] * 3]
    device.stop()


@pytest.mark.parametrize("stored", [7, [0, 20], ["a", 1], [1, 2, 3], [10**6, 10**6]])
def test_a_stored_frame_size_that_makes_no_sense_is_not_used(world: World, stored: object) -> None:
    device = world.device()
    device._store.save_fact("frame_size", stored)
    device.stop()
    device = world.device()
    assert device.slot.frame_size is None
    device.stop()


def test_no_request_fails_while_engines_are_swapped_under_load(world: World) -> None:
    device = world.device(limits=Limits(probation_frames=20))
    device.start()
    done, failed, answered = threading.Event(), [], [0] * 4

    def work(k: int) -> None:
        while not done.is_set():
            try:
                with device.slot.lease() as engine:
                    output = engine.run(BRIGHT)
                    assert output.probabilities.shape == (1, len(engine.metadata.classes))
                device.observe(True, 1.0, engine.sha256)
                answered[k] += 1
            except Exception as error:
                failed.append(error)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    confirmed = []
    classes = (("ok", "ok"), ("defect", "defect"), ("scratch", "defect"))
    for n in range(1, 6):
        engine = world.release(f"e{n}", classes=classes[: 2 + n % 2])
        device.check_once()
        _until(lambda: device.status().phase == "steady")
        confirmed.append(device.slot.engine.sha256 == digest(engine))
    done.set()
    for worker in workers:
        worker.join(10)
    device.stop()
    assert failed == []
    assert confirmed == [True] * 5
    assert min(answered) > 0


def test_a_usb_stick_with_releases_on_it_works_as_the_bucket_does(world: World, tmp_path: Path) -> None:
    engine = world.release("e1")
    shutil.copytree(world.bucket.path / "releases", tmp_path / "stick" / "releases")
    device = world.device(bucket=Unreachable(world.bucket.path, 0))
    assert device.check_once(DirectoryBucket(tmp_path / "stick")).check is Check.SWAPPED
    assert device.slot.engine.sha256 == digest(engine)


def test_the_command_updates_from_a_usb_stick_for_the_next_start(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.cloud_clock.at = datetime.now(UTC)  # the command goes by the machine's clock
    engine = world.release("e1")
    config = _write_config(world)
    assert _command("--config", str(config), "--from", str(world.bucket.path), "--json") == 0
    assert json.loads(capsys.readouterr().out)["check"] == "swapped"
    assert world.device().slot.engine.sha256 == digest(engine)


def test_the_command_asks_the_running_client(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.release("e1")
    device = world.device(poll_seconds=1e6, bucket=Unreachable(world.bucket.path, 0))
    device.start()
    config = _write_config(world)
    assert _command("--config", str(config), "--from", str(world.bucket.path), "--json") == 0
    assert json.loads(capsys.readouterr().out)["engine_id"] == "e1"
    assert device.slot.engine.metadata.engine_id == "e1"
    device.stop()


def test_the_command_names_a_folder_without_releases(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    config = _write_config(world)
    assert _command("--config", str(config), "--from", str(world.folder / "keys")) == 2
    assert "holds no releases/metadata/timestamp.json" in capsys.readouterr().err


def test_a_second_process_on_the_same_state_is_refused(world: World) -> None:
    device = world.device()
    with pytest.raises(ConfigError, match="in use by another process"):
        world.device()
    device.stop()
    world.device().stop()


def test_a_damaged_database_is_set_aside_and_the_device_updates_anew(world: World) -> None:
    engine = world.release("e1")
    device = world.device()
    device.check_once()
    device.stop()
    database = world.config().state / "updates.db"
    database.write_bytes(b"\0 no database " * 1000)
    device = world.device()
    assert device.slot.engine.sha256 == digest(world.factory)
    assert "the state was damaged" in device.status().problems[0]
    assert device.check_once().check is Check.SWAPPED
    assert device.slot.engine.sha256 == digest(engine)


def test_a_broken_factory_engine_is_no_matter_while_a_slot_serves(world: World) -> None:
    world.release("e1")
    device = world.device()
    device.check_once()
    serve(device, 3)
    device.stop()
    (world.folder / "factory.onnx").write_bytes(b"")
    device = world.device()
    assert device.slot.engine.metadata.engine_id == "e1"


def test_an_engine_for_another_inspection_never_serves(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "factory.onnx").write_bytes(tiny_engine(inspection="welds"))
    with pytest.raises(BadEngine, match="is for the inspection 'welds'"):
        world.device()


def test_an_engine_with_wrong_self_test_answers_is_quarantined_by_the_real_trial(world: World) -> None:
    engine = tiny_engine(engine_id="e1")
    world.release("e1", selftest=selftest_of(tiny_engine(engine_id="e1", bias=4.0)))
    device = world.device(tries=try_engine, trial=TrialLimits(seconds=30))
    assert device.check_once().check is Check.QUARANTINED
    assert "self-test answers differ" in device.status().quarantined[0].reason
    assert device.status().quarantined[0].engine_sha256 == digest(engine)


def test_answers_are_the_same_before_and_after_storing_an_engine(world: World) -> None:
    device = world.device()
    data = world.release("e1", bias=1.0)
    device.check_once()
    stored = (world.config().state / "slot-a" / "engine.onnx").read_bytes()
    assert stored == data
    np.testing.assert_array_equal(
        device.slot.engine.run(BRIGHT).probabilities, Engine.from_bytes(data).run(BRIGHT).probabilities
    )


def _passes(order: TrialOrder) -> TrialReport:
    return TrialReport(passed=True)


def _crash(device: Updater) -> None:
    """What a killed process leaves: the lock is gone, nothing was put in order."""
    device._lock.release()
    device._store.close()


def _until(condition: object) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if condition():  # type: ignore[operator]
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen within 20 s")


def _command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    update_command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["update", *arguments])
    code: int = args.run(args)
    return code


def _write_config(world: World) -> Path:
    (world.folder / "root.json").write_bytes(world.repository.root_bytes())
    (world.folder / "device.key").write_text("unused here")
    file = world.folder / "andon.toml"
    file.write_text(
        f"""
        [device]
        name = "line-1"
        site = "plant-a"
        station = "aoi-3"
        key = "device.key"
        state = "state"
        [inspection]
        name = "{INSPECTION}"
        factory_engine = "factory.onnx"
        [releases]
        root = "root.json"
        [capture]
        enabled = false
        """
    )
    return file


def test_a_state_that_a_newer_client_wrote_beside_it_is_this_ones_state_still(tmp_path: Path) -> None:
    """Going back to an older client must not lose the engine: what it does not know is passed over."""
    import json
    import sqlite3

    world = World(tmp_path)
    world.release("e1")
    device = world.device()
    device.check_once()
    serve(device, 3)
    device.stop()
    database = tmp_path / "state" / "updates" / "updates.db"
    with sqlite3.connect(database) as connection:
        (text,) = connection.execute("SELECT value FROM facts WHERE name = 'state'").fetchone()
        state = json.loads(text)
        for part in ("a", "b", "target"):
            if state[part]:
                state[part]["colour"] = "green"
        state["later"] = [1, 2]
        connection.execute("UPDATE facts SET value = ? WHERE name = 'state'", (json.dumps(state),))
        connection.execute("CREATE TABLE more (x)")
    again = world.device()
    assert again.status().engine_id == "e1"
    again.stop()
