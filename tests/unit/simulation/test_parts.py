"""The parts of a simulation that have no device in them."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import ConfigError, Unavailable
from infra.simulation.clocks import VirtualClock
from infra.simulation.lines import BEHAVIOUR, Line
from infra.simulation.link import Link, Meter
from infra.simulation.plan import Plan
from infra.simulation.run import START


def test_requests_are_lost_before_or_after_they_did_something(tmp_path: Path) -> None:
    bucket = DirectoryBucket(tmp_path)
    link = Link(bucket, VirtualClock(START), Meter(), loss=0.5, lag_seconds=0.0, random=Random(0))
    stored_without_answer = not_stored = 0
    for i in range(200):
        try:
            link.put(f"a/{i}", b"x")
        except Unavailable:
            if bucket.head(f"a/{i}"):
                stored_without_answer += 1
            else:
                not_stored += 1
    assert 30 < stored_without_answer < 70
    assert 30 < not_stored < 70
    assert link.meter.requests["put"] == 200


def test_what_lags_arrives_in_its_time(tmp_path: Path) -> None:
    bucket, clock = DirectoryBucket(tmp_path), VirtualClock(START)
    link = Link(bucket, clock, Meter(), loss=0.0, lag_seconds=60.0, random=Random(0))
    link.put("a", b"x")
    link.deliver()
    assert bucket.head("a") is None
    clock.seconds = 3600
    link.deliver()
    assert bucket.get("a", max_bytes=1) == b"x"


def test_a_line_makes_the_frames_and_defects_that_it_should() -> None:
    line = Line(0.5, Random(1))
    spans = [line.run(BEHAVIOUR["shift"], at=300.0 * i, seconds=300.0) for i in range(1000)]
    frames = sum(span.answered + span.lost for span in spans)
    assert abs(frames - 150_000) <= 1
    share = sum(span.defective for span in spans) / frames
    assert 0.25 < share < 0.29  # a quarter of the good ones, and its own few per cent
    assert sum(line.run(BEHAVIOUR["crash"], at=0.0, seconds=300.0).lost for _ in range(100)) / 15_000 == pytest.approx(
        0.2, abs=4 * (0.2 * 0.8 / 15_000) ** 0.5
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"devices": 0}, "devices is 0"),
        ({"loss": 1.5}, "loss is 1.5"),
        ({"devices": 2, "stolen": 3}, "more than the 2"),
    ],
)
def test_what_cannot_be_simulated_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Plan(**wrong)  # type: ignore[arg-type]
