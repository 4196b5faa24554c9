"""Small fleets in virtual time: what happens to them is decided by the real rules."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.policy import Policy
from edge_client.contract.bucket import DirectoryBucket
from infra.simulation.plan import Plan
from infra.simulation.report import Report
from infra.simulation.run import simulate


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path, prefix="andon-") as name:
        yield Path(name)


def simulated(folder: Path, **more: object) -> Report:
    plan = Plan(**{"warm_up_hours": 0.2, "most_hours": 0.5, "settle_hours": 0.1, **more})  # type: ignore[arg-type]
    return simulate(plan, bucket=DirectoryBucket(folder / "bucket"), folder=folder / "fleet", policy=Policy())


def test_a_version_that_fails_its_self_test_is_refused_by_the_first_device_alone(folder: Path) -> None:
    report = simulated(folder, devices=6, bad="selftest")
    assert (report.course.state, report.course.quarantined, report.course.served) == ("reverted", 1, 0)
    assert (report.bad_confirmed, report.without_engine) == (0, 0)
    assert report.quiet.requests["get"] == 0
    assert 500 < report.quiet.all_requests < 700  # at a look and a heartbeat each five minutes


def test_troubles_and_a_thief_leave_each_device_with_an_engine_and_no_word_that_is_not_its_own(folder: Path) -> None:
    report = simulated(
        folder, devices=6, loss=0.1, lag_seconds=20, skew_seconds=1e6, without_clock=0.3, reboots_per_day=60, stolen=1,
        dark=1, most_hours=1.5,
    )  # fmt: skip
    assert report.without_engine == 0
    assert report.reboots > 0
    assert report.lost > 0
    assert report.forged > 0
    assert report.refused["not signed by the key"] == report.forged
    assert report.states["revoked"] == 1
    assert report.states["silent"] == 1
    assert report.silences == report.silent_rightly == 1
