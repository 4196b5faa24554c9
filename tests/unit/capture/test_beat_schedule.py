from __future__ import annotations

import json
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.beat_schedule import BURST, BeatSchedule
from edge_client.contract.heartbeat import Heartbeat, Quarantined
from tests.unit.contract.test_names_and_documents import BEAT

DAY = 86_400


@given(
    interval=st.sampled_from([30.0, 300.0, 900.0]),
    change=st.floats(0, 1),
    fail=st.floats(0, 1),
    look=st.sampled_from([10.0, 47.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_a_day_has_a_bounded_number_of_heartbeats_whatever_changes(
    interval: float, change: float, fail: float, look: float, seed: int
) -> None:
    draw = random.Random(seed)
    schedule, at, sent = BeatSchedule(interval, draw.random), 0.0, 0
    while at < DAY:
        if schedule.is_due(at, lambda: draw.random() < change):
            if draw.random() < fail / 2:
                schedule.failed(at)
            else:
                schedule.sent(at)
                sent += 1
        at += look
    assert sent <= DAY / (0.9 * interval) + DAY / interval + BURST + 1


def test_without_change_and_failure_one_comes_each_interval_less_a_tenth() -> None:
    schedule, at, times = BeatSchedule(300.0, random.Random(0).random), 0.0, []
    while at < DAY:
        if schedule.is_due(at, lambda: False):
            schedule.sent(at)
            times.append(at)
        at += 1.0
    gaps = [b - a for a, b in pairwise(times)]
    assert 270 <= min(gaps) <= max(gaps) <= 301
    assert max(gaps) - min(gaps) > 15  # a fleet does not go on in step


def test_a_change_is_told_at_once_until_the_turns_are_used_up() -> None:
    schedule = BeatSchedule(300.0, lambda: 1.0)
    schedule.sent(0.0)
    told = []
    for second in range(1, 200):
        if schedule.is_due(float(second), lambda: True):
            schedule.sent(float(second))
            told.append(second)
    assert told == list(range(1, BURST + 1))
    assert schedule.is_due(BURST + 300.0, lambda: False)  # the interval goes on


def test_after_a_failure_a_change_waits_for_the_pause() -> None:
    schedule = BeatSchedule(300.0, lambda: 1.0)
    schedule.sent(0.0)
    schedule.failed(10.0)
    assert not schedule.is_due(10.9, lambda: True)
    assert schedule.is_due(11.0, lambda: False)


@pytest.mark.parametrize(("quarantined", "problems"), [(0, 0), (100, 50)])
def test_a_heartbeat_is_small_whatever_a_device_has_to_complain_of(quarantined: int, problems: int) -> None:
    full = Heartbeat.from_payload(
        {
            **json.loads(json.dumps(BEAT.to_payload())),
            "problems": [f"{n} " + "x" * 5000 for n in range(problems)],
            "quarantined": [{"engine_sha256": "e" * 64, "reason": "y" * 2000} for _ in range(quarantined)],
            "rollout": {"engine_id": "e1", "engine_sha256": "", "outcome": "failed", "reason": "z" * 2000},
        }
    )
    small = full.kept_small()
    assert len(json.dumps(small.to_payload())) < (1_600 if not problems else 8_000)
    assert Heartbeat.from_payload(json.loads(json.dumps(small.to_payload()))) == small
    if problems:
        assert small.problems[-1] == "and 41 more: see `andon-edge status` there"
        assert small.quarantined == (Quarantined(engine_sha256="e" * 64, reason="y" * 199 + "…"),) * 10
