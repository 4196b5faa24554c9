from __future__ import annotations

from random import Random

from edge_client.updates.outcome import Check
from edge_client.updates.polling import PollSchedule


class Middle(Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def test_a_network_that_is_away_is_looked_for_soon_and_then_less_often() -> None:
    schedule = PollSchedule(300.0, Middle())
    assert [schedule.after(Check.OFFLINE) for _ in range(7)] == [20, 40, 80, 160, 300, 300, 300]
    assert schedule.after(Check.UP_TO_DATE) == 300
    assert schedule.after(Check.OFFLINE) == 20


def test_a_machine_that_fails_is_left_alone_for_longer() -> None:
    schedule = PollSchedule(300.0, Middle())
    assert [schedule.after(Check.RETRY) for _ in range(8)][-1] == 600


def test_a_short_pause_stays_short() -> None:
    schedule = PollSchedule(0.2, Middle())
    assert [schedule.after(Check.OFFLINE) for _ in range(6)] == [0.4, 0.8, 1.6, 3.2, 6.4, 10.0]


def test_devices_that_started_together_drift_apart() -> None:
    waits = [PollSchedule(300.0, Random(seed)).after(Check.UP_TO_DATE) for seed in range(50)]
    assert 240 <= min(waits) < 260
    assert 340 < max(waits) <= 360
