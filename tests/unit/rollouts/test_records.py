"""What a device showed (rules of data/rollouts/records.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.rollouts.records import ANOMALY, DEFECT, Record, Report, Sums, fold
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.signing import canonical_json
from tests.unit.rollouts.made import AT, BASE, NEW, OTHER, report


def folded(*reports: Report, began: int = 3, record: Record | None = None) -> Record:
    record = record or Record(joined=0)
    for each in reports:
        record = fold(
            record,
            each,
            new={NEW, OTHER},
            base={BASE},
            defects={"crack"},
            began_at=minutes_in(began),
        )
    return record


def minutes_in(minutes: int) -> datetime:
    return AT + timedelta(minutes=minutes)


def test_increases_count_under_the_version_that_both_heartbeats_name() -> None:
    record = folded(
        report(1, frames=100, defects=10),
        report(2, frames=300, defects=20),  # 200 under the base, before it began
        report(4, frames=400, defects=30),  # 100 since
        report(5, engine=NEW, frames=500, defects=90),  # over the change of engine: dropped
        report(6, engine=NEW, frames=700, defects=190),
    )
    assert (record.earlier.frames, record.later.frames, record.after.frames) == (200, 100, 200)
    assert (record.earlier.rate(DEFECT), record.after.rate(DEFECT)) == (0.05, 0.5)
    assert record.after.rate(ANOMALY) == pytest.approx(0.25)
    assert record.before.frames == 300


def test_a_restart_and_an_old_heartbeat_add_nothing() -> None:
    record = folded(report(1, frames=900), report(2, frames=50), report(3, frames=80), report(3, frames=500))
    assert record.before.frames == 30


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"engine": BASE}, "waiting"),
        ({"engine": BASE, "outcome": "trial", "outcome_sha256": NEW}, "trying"),
        ({"engine": NEW, "outcome": "probation", "outcome_sha256": NEW}, "trying"),
        ({"engine": NEW, "outcome": "confirmed", "outcome_sha256": NEW}, "confirmed"),
        ({"engine": BASE, "outcome": "quarantined", "outcome_sha256": OTHER, "reason": "NaN"}, "quarantined"),
        ({"engine": BASE, "outcome": "failed", "outcome_sha256": NEW, "reason": "disk"}, "failed"),
        # one file of two is no quarantine of the version
        ({"engine": OTHER, "outcome": "confirmed", "outcome_sha256": OTHER, "quarantined": {NEW: "slow"}}, "confirmed"),
        ({"engine": BASE, "outcome": "trial", "outcome_sha256": OTHER, "quarantined": {NEW: "slow"}}, "trying"),
        ({"engine": BASE, "quarantined": {NEW: "slow", OTHER: "slow too"}}, "quarantined"),
        ({"engine": BASE, "outcome": "confirmed", "outcome_sha256": BASE}, "waiting"),
    ],
)
def test_what_became_of_the_version_on_a_device(told: dict[str, Any], expected: str) -> None:
    assert folded(report(1, **told)).outcome == expected


def test_lost_requests_count_as_asked() -> None:
    record = folded(report(1, engine=NEW), report(2, engine=NEW, frames=90, lost=10))
    assert (record.after.frames, record.after.rate("lost")) == (100, 0.1)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 500)), min_size=2, max_size=30))
def test_the_variance_over_batches_is_that_of_a_ratio(batches: list[tuple[int, float]]) -> None:
    made = Sums()
    for frames, y in batches:
        made = made.plus(frames, {DEFECT: y})
    f, y = np.array(batches, float).T
    rate = y.sum() / f.sum()
    expected = len(f) / (len(f) - 1) * ((y - rate * f) ** 2).sum() / f.sum() ** 2
    assert made.variance(DEFECT) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    half = len(batches) // 2
    parts = [Sums(), Sums()]
    for i, (frames, count) in enumerate(batches):
        parts[i >= half] = parts[i >= half].plus(frames, {DEFECT: count})
    assert parts[0].merged(parts[1]).variance(DEFECT) == pytest.approx(made.variance(DEFECT), rel=1e-6, abs=1e-9)


def test_a_record_survives_the_catalog() -> None:
    record = replace(
        folded(report(1, frames=100), report(2, frames=300), report(5, engine=NEW, frames=400)), present=True
    )
    assert Record.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_several_defect_classes_are_counted_one_by_one() -> None:
    first = report(1, classes={"ok": 90, "crack": 5, "hole": 5}, frames=100)
    second = report(2, classes={"ok": 150, "crack": 30, "hole": 20}, frames=200)
    record = Record()
    for each in (first, second):
        record = fold(record, each, new={NEW}, base={BASE}, defects={"crack", "hole"}, began_at=minutes_in(3))
    assert record.earlier.rate(DEFECT) == 0.4
    assert (record.earlier.rate("class crack"), record.earlier.rate("class hole")) == (0.25, 0.15)


def test_a_heartbeat_of_a_client_of_before_is_read() -> None:
    heartbeat = Heartbeat(
        device="d1", site="p", station="e", sequence=1, sent_at=AT, client_version="1", inspection="cells",
        channel="stable", engine_id="e1", engine_sha256=BASE, slot="a", health="ok", hardware="arm", variant="int8",
    )  # fmt: skip
    payload = json.loads(canonical_json(heartbeat.to_payload()))
    assert Heartbeat.from_payload(payload) == heartbeat
    assert Report.of(payload, AT).hardware == "arm"
    old = {name: value for name, value in payload.items() if name not in ("hardware", "variant")}
    assert Heartbeat.from_payload(old).hardware == ""
    assert Report.of(old, AT).hardware == ""
