"""A challenger on a device: from the signed document to the counts in its heartbeat, and to the frames it captures."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from edge_client.contract.errors import BadRecord, BadRelease
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.releases import Cohort, NamedEngine, engine_target, selftest_target
from edge_client.contract.settings import DeviceSettings
from edge_client.contract.shadow import Shadow, ShadowReport, shadow_target
from edge_client.engine import Engine
from edge_client.prediction import predictions_from
from edge_client.shadow.keeper import ShadowKeeper
from edge_client.updates.trial import TrialReport
from edge_client.updates.updater import Updater
from flows.shadow import result_of, stop
from tests.tiny_engine import tiny_engine
from tests.unit.shadow.challengers import Here
from tests.unit.updates.release_world import DARK, INSPECTION, World, digest, passing, selftest_of

BEAT = Heartbeat(
    device="a",
    site="plant-a",
    station="aoi-3",
    sequence=1,
    sent_at=datetime(2026, 6, 1, tzinfo=UTC),
    client_version="0.2.0",
    inspection=INSPECTION,
    channel="stable",
    engine_id="e1",
    engine_sha256="ef",
    slot="a",
    health="ok",
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.release("e1")
    return world


def shadow(world: World, *, salt: str = "s1", approve: bool = True, **changes: object) -> Shadow:
    """Name a challenger that sees more defects; its engine approved as it should be."""
    engine = tiny_engine(engine_id="e9", bias=6.0)
    if approve:
        world.repository.publish_engine(INSPECTION, "e9", engine, selftest_of(engine), {})
    document = Shadow(
        inspection=INSPECTION,
        channel="stable",
        version="9",
        engine=NamedEngine(
            engine_path=engine_target(INSPECTION, "e9"),
            engine_sha256=digest(engine),
            engine_bytes=len(engine),
            engine_id="e9",
            selftest_path=selftest_target(INSPECTION, "e9"),
        ),
        share=1.0,
        cpu_share=0.5,
        cohort=Cohort(),
        salt=salt,
        expires_at=world.clock.now() + timedelta(days=1),
        issued_at=world.cloud_clock.now(),
    )
    document = replace(document, **changes)  # type: ignore[arg-type]
    world.repository.put_document(shadow_target(INSPECTION, "stable"), document.to_json())
    return document


def here(path: Path, *, engine_sha256: str, **_: object) -> Here:
    """Open a challenger in this process."""
    assert digest(path.read_bytes()) == engine_sha256
    return Here(Engine.from_bytes(path.read_bytes()))


class Device:
    """A device's updater and shadow, each step on the test's own thread."""

    def __init__(self, world: World, tries=passing) -> None:
        self.keeper = ShadowKeeper(world.config(), world.clock, tries=tries, opens=here)
        self.updater = Updater.open(
            world.config(), world.bucket, clock=world.clock, tries=passing, on_shadow=self.keeper.take
        )

    def look(self) -> None:
        self.updater.check_once()
        self.keeper.look(self.keeper._offered)

    def inspect(self, frame: np.ndarray) -> None:
        with self.updater.slot.lease() as engine:
            (prediction,) = predictions_from(engine.run(frame), engine, sample_ids=["0" * 32], latency_ms=1.0)
        before = self.keeper._tally.seen
        assert self.keeper.offer(frame, prediction) is not None
        end = time.monotonic() + 10
        while self.keeper._tally.seen == before and time.monotonic() < end:
            time.sleep(0.002)

    def stop(self) -> None:
        self.keeper.stop()
        self.updater.stop()

    def state(self) -> str:
        report = self.keeper.report()
        return "" if report is None else report.state


def test_a_challenger_runs_is_counted_and_ends_by_the_cloud(world: World) -> None:
    device = Device(world)
    device.look()
    assert device.keeper.report() is None
    shadow(world)
    device.look()
    assert device.state() == "runs"
    grey = np.full((16, 16, 3), 140, np.uint8)  # ok for the one in service
    device.inspect(grey)
    device.inspect(DARK)
    report = device.keeper.report()
    assert report is not None
    assert (report.seen, report.disagreed, report.pairs) == (2, 1, {"ok > defect": 1})
    stop(world.repository, INSPECTION, "stable", world.cloud_clock.now())
    device.look()
    assert device.keeper.offer(DARK, None) is None  # type: ignore[arg-type]
    assert device.keeper.report() is not None
    assert device.keeper.report().seen == 2  # type: ignore[union-attr]
    device.stop()
    again = Device(world)  # counts survive a restart
    again.look()
    assert again.keeper.report() is not None
    assert again.keeper.report().seen == 2  # type: ignore[union-attr]
    shadow(world, salt="s2")
    again.look()
    assert again.keeper.report().seen == 0  # type: ignore[union-attr]
    again.stop()


def test_a_challenger_that_fails_its_trial_never_answers_and_says_why(world: World) -> None:
    tried: list[str] = []

    def failing(order):
        tried.append(order.engine_id)
        return TrialReport(passed=False, reason="self-test answers differ")

    device = Device(world, tries=failing)
    shadow(world)
    device.look()
    device.look()
    report = device.keeper.report()
    assert report is not None
    assert (report.state, report.reason) == ("refused", "challenger 'e9': self-test answers differ")
    assert tried == ["e9"]
    assert device.keeper.offer(DARK, None) is None  # type: ignore[arg-type]
    device.stop()


@pytest.mark.parametrize("outside", [{"cohort": Cohort(devices=("another",))}, {"cohort": Cohort(percent=0.0)}])
def test_a_device_outside_the_cohort_does_not_run_it(world: World, outside: dict[str, object]) -> None:
    device = Device(world)
    shadow(world, **outside)
    device.look()
    assert device.state() == "waits"
    assert device.keeper._worker is None
    device.stop()


def test_a_shadow_ends_by_itself_when_its_time_is_over(world: World) -> None:
    device = Device(world)
    shadow(world)
    device.look()
    world.clock.advance(days=1, minutes=1)
    device.keeper.look(device.keeper._offered)
    assert device.state() == "expired"
    assert device.keeper._worker is None
    device.stop()


def test_an_engine_that_no_person_approved_is_not_run_in_the_shadow_either(world: World) -> None:
    device = Device(world)
    shadow(world, approve=False)
    device.look()
    assert device.keeper.report() is None
    assert any("is not approved by the `engines` key" in p for p in device.updater.status().problems)
    device.stop()


def test_an_engine_that_the_settings_deny_is_not_run_in_the_shadow_either(world: World) -> None:
    device = Device(world)
    document = shadow(world)
    device.look()
    assert device.state() == "runs"
    world.repository.set_settings("default", DeviceSettings(deny_engines=(document.engine.engine_sha256,)))
    device.look()
    assert device.keeper._worker is None
    device.stop()


def test_reports_are_pooled_by_the_frames_that_each_device_saw() -> None:
    one = ShadowReport(
        salt="s", engine_id="e9", engine_sha256="ab", state="runs", seen=900, disagreed=9, verdicts=6,
        pairs={"ok > crack": 9}, cpu_seconds=4.5,
    )  # fmt: skip
    two = replace(one, seen=100, disagreed=11, verdicts=1, pairs={"ok > crack": 10, "crack > ok": 1})
    told = [replace(BEAT, device=name, shadow=report) for name, report in (("b", two), ("a", one), ("c", None))]
    result = result_of("ab", told)
    assert result is not None
    assert [d.device for d in result.devices] == ["a", "b"]
    assert (result.disagreed.count, result.disagreed.n) == (20, 1000)
    assert result.disagreed.low == pytest.approx(0.01226, abs=1e-4)  # Clopper and Pearson's, 20 of 1,000
    assert result.disagreed.high == pytest.approx(0.03072, abs=1e-4)
    assert list(result.pairs) == ["ok > crack", "crack > ok"]
    assert result_of("cd", told) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [({"share": 1.5}, "share"), ({"cpu_share": 0.9}, "cpu_share"), ({"cohort": {"percent": 1}}, "lacks the field")],
)
def test_a_document_out_of_bounds_is_refused(world: World, change: dict[str, object], says: str) -> None:
    value = {**json.loads(shadow(world).to_json()), **change}
    with pytest.raises(BadRelease, match=says):
        Shadow.from_json(json.dumps(value).encode())


def test_a_report_out_of_bounds_is_refused() -> None:
    value = asdict(ShadowReport(salt="s", engine_id="e", engine_sha256="a", state="runs"))
    assert ShadowReport.read(value, BadRecord).state == "runs"
    for change in ({"state": "dances"}, {"pairs": {f"a > {i}": 1 for i in range(40)}}, {"seen": -1}):
        with pytest.raises(BadRecord):
            ShadowReport.read({**value, **change}, BadRecord)


def test_a_heartbeat_with_a_shadow_is_read_as_it_was_written_and_one_of_before_too() -> None:
    report = ShadowReport(salt="s", engine_id="e9", engine_sha256="ab", state="runs", seen=3, pairs={"a > b": 1})
    told = replace(BEAT, shadow=report, software="0.3.0 is confirmed")
    payload = json.loads(json.dumps(told.to_payload()))
    assert Heartbeat.from_payload(payload) == told
    del payload["shadow"], payload["software"]
    assert Heartbeat.from_payload(payload) == replace(told, shadow=None, software="")
