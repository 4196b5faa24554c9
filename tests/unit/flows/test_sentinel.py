"""When the sentinel asks for a run again (rule 3 of flows/sentinel.py). Only Prefect is replaced, at its seam."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from data.workspace import Workspace
from edge_client.contract.bucket import S3Settings
from flows.sentinel import MOST_FAILURES, Ended, Run, Sentinel, Wish

START = datetime(2030, 1, 1, tzinfo=UTC)
WISH = Wish(flow="retrain", parameters={"inspection": "part"}, key="retrain part at 20", why="20 label events")


@dataclass
class Runs:
    """Prefect in memory: one run per key, whose end the test decides."""

    clock: Clock
    made: dict[str, Run] = field(default_factory=dict)
    busy: bool = False

    def under_way(self, flow: str) -> bool:
        return self.busy

    def ask_for(self, wish: Wish, key: str) -> Run:
        return self.made.setdefault(key, Run(id=key, ended=Ended.NOT_YET))

    def end_all(self, ended: Ended) -> None:
        for key, run in self.made.items():
            if run.ended is Ended.NOT_YET:
                self.made[key] = Run(id=key, ended=ended, ended_at=self.clock())


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


class Wishing(Sentinel):
    """A sentinel that sees what the test says."""

    wanted: tuple[Wish, ...] = (WISH,)

    def wishes(self):  # type: ignore[no-untyped-def]
        yield from self.wanted


def made(**more: object) -> tuple[Wishing, Runs, Clock]:
    clock = Clock()
    runs = Runs(clock)
    settings = S3Settings(bucket="b", endpoint_url=None, access_key_id="a", secret_access_key="s")
    workspace = Workspace(home=Path("/nowhere"), catalog_url="sqlite://", bucket_settings=settings)
    return Wishing(workspace, runs, clock=clock, **more), runs, clock  # type: ignore[arg-type]


def test_one_event_is_one_run_however_often_it_is_seen() -> None:
    sentinel, runs, _ = made()
    for _ in range(5):
        sentinel.poll()
    assert list(runs.made) == [f"{WISH.key} #0"]


def test_a_sentinel_that_was_started_anew_asks_for_the_same_run() -> None:
    sentinel, runs, clock = made()
    sentinel.poll()
    Wishing(sentinel._workspace, runs, clock=clock).poll()
    assert len(runs.made) == 1


def test_nothing_is_asked_for_while_a_run_of_the_flow_is_under_way() -> None:
    sentinel, runs, _ = made()
    runs.busy = True
    assert sentinel.poll() == []
    assert runs.made == {}


def test_a_run_that_was_killed_is_asked_for_again_later_each_time() -> None:
    sentinel, runs, clock = made()
    waits = []
    for _ in range(5):
        sentinel.poll()
        runs.end_all(Ended.INTERRUPTED)
        ended, count = clock.now, len(runs.made)
        while len(runs.made) == count:
            clock.now += timedelta(seconds=5)
            sentinel.poll()
        waits.append((clock.now - ended).total_seconds())
    assert waits == [15, 30, 60, 120, 240]


def test_a_run_that_failed_three_times_is_left_to_people() -> None:
    sentinel, runs, clock = made()
    for _ in range(50):
        sentinel.poll()
        runs.end_all(Ended.FAILED)
        clock.now += timedelta(minutes=20)
    assert len(runs.made) == MOST_FAILURES


def test_a_run_that_ended_well_and_left_the_wish_is_asked_for_again() -> None:
    sentinel, runs, clock = made()
    sentinel.poll()
    runs.end_all(Ended.WELL)
    sentinel.poll()
    assert len(runs.made) == 1
    clock.now += timedelta(seconds=16)
    sentinel.poll()
    assert len(runs.made) == 2


def test_an_error_makes_it_wait_longer_and_not_end() -> None:
    sentinel, _, _ = made(poll_seconds=0.001)
    stop = Waits(5)

    def broken():  # type: ignore[no-untyped-def]
        raise OSError("MLflow is away")
        yield

    sentinel.wishes = broken  # type: ignore[method-assign]
    sentinel.run(stop)
    assert stop.waited == [0.001, 0.002, 0.004, 0.008, 0.016]


class Waits(threading.Event):
    """Says stop after so many waits, and remembers them."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.waited: list[float] = []
        self._most = most

    def wait(self, timeout: float | None = None) -> bool:
        if len(self.waited) == self._most:
            return True
        self.waited.append(timeout or 0.0)
        return False
