"""The fleet's words about a version (flows/rollout.py)."""

from datetime import UTC, datetime
from typing import Any

from edge_client.contract.heartbeat import Heartbeat, Quarantined, Rollout
from flows.rollout import rollout_of, rollout_tags
from flows.tags import Tag

NEW, OLD = "a" * 64, "b" * 64


def heartbeat(device: str, runs: str, **more: Any) -> Heartbeat:
    fields: dict[str, Any] = {
        "device": device, "site": "plant", "station": "end", "sequence": 1, "sent_at": datetime(2030, 1, 1, tzinfo=UTC),
        "client_version": "1", "inspection": "part", "channel": "stable", "engine_id": "e", "engine_sha256": runs,
        "slot": "a", "health": "ok", "frames": 100, "latency_ms_p50": 2.0, "latency_ms_p99": 4.0,
    }  # fmt: skip
    return Heartbeat(**{**fields, **more})


def outcome(outcome: str, reason: str = "", sha: str = NEW) -> Rollout:
    return Rollout(engine_id="e", engine_sha256=sha, outcome=outcome, reason=reason)


QUARANTINED_BEFORE = (Quarantined(engine_sha256=NEW, reason="old words"),)
FLEET = [
    heartbeat("d1", NEW, rollout=outcome("confirmed"), latency_ms_p50=3.0),
    heartbeat("d2", NEW, rollout=outcome("probation")),
    heartbeat("d3", OLD, rollout=outcome("quarantined", "NaN on frame 12"), quarantined=QUARANTINED_BEFORE),
    heartbeat("d4", OLD, rollout=outcome("failed", "disk full")),
    heartbeat("d5", OLD),
]  # fmt: skip


def test_devices_are_counted_by_what_they_do_with_the_engine() -> None:
    found = rollout_of([NEW], reversed(FLEET))
    assert found.running == ("d1", "d2")
    assert found.confirmed == ("d1",)
    assert found.trying == ("d2",)
    assert found.quarantined == {"d3": "NaN on frame 12"}
    assert found.failed == {"d4": "disk full"}
    assert (found.latency_ms_p50, found.latency_ms_p99, found.frames) == ((2.0, 3.0), (4.0, 4.0), 200)


def test_a_device_counts_by_digest_and_not_by_engine_id() -> None:
    assert rollout_of([OLD], FLEET).running == ("d3", "d4", "d5")
    assert not rollout_of(["c" * 64], FLEET).seen


def test_a_device_that_quarantined_an_engine_earlier_still_says_so() -> None:
    later = heartbeat(
        "d3", OLD, rollout=outcome("confirmed", sha=OLD), quarantined=(Quarantined(engine_sha256=NEW, reason="NaN"),)
    )
    assert rollout_of([NEW], [later]).quarantined == {"d3": "NaN"}


def test_the_tags_tell_the_story_in_words() -> None:
    tags = rollout_tags(rollout_of([NEW], FLEET), ["stable"], followers=5)
    assert tags[Tag.ROLLOUT_STATE] == (
        "on stable: 1 of 5 devices confirmed, 1 trying, 1 quarantined it, 1 could not fetch or store it yet"
    )
    assert tags[Tag.CONFIRMED] == "1: d1"
    assert tags[Tag.QUARANTINED] == "2: d4: disk full; d3: NaN on frame 12"
    assert tags[Tag.LATENCY] == "p50 2.0 to 3.0, p99 4.0"


def test_a_version_on_no_channel_keeps_the_state_that_the_release_flow_wrote() -> None:
    assert Tag.ROLLOUT_STATE not in rollout_tags(rollout_of([OLD], FLEET), [], followers=0)


def test_a_large_fleet_stays_readable() -> None:
    fleet = [heartbeat(f"d{i:03}", NEW, rollout=outcome("confirmed")) for i in range(500)]
    told = rollout_tags(rollout_of([NEW], fleet), ["stable"], followers=500)[Tag.CONFIRMED]
    assert told.startswith("500: d000, d001")
    assert told.endswith("and 480 more")
