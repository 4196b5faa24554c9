from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from data.catalog import Catalog
from data.catalog.models import QuarantineRow
from data.decisions import (
    GateDecision,
    ReleaseEntry,
    list_decisions,
    list_releases,
    record_decision,
    record_release,
)
from data.devices import record_heartbeat, register_device
from data.draws import draw
from data.labels import record_cannot_tell
from data.lake import Lake
from data.loop_status import MOST_DEVICES, loop_status, loop_statuses, new_labels_since_snapshot
from data.snapshots import take_snapshot
from edge_client.contract.bucket import DirectoryBucket
from tests.unit.data.captured_line import INSPECTION, T0, Line, factory_sample
from tests.unit.data.test_inspections_and_devices import heartbeat


def decision(run: str, answer: str = "promote") -> GateDecision:
    return GateDecision(
        inspection=INSPECTION, version="1", champion_version=None, run_id=run, snapshot_id=None, engine_id="e1",
        at=T0, answer=answer, reasons=["better"], label_more={"crack": 4},
    )  # fmt: skip


def test_a_run_is_decided_once(catalog: Catalog) -> None:
    first = record_decision(catalog, decision("r1"))
    assert record_decision(catalog, decision("r1", "reject")) == first
    record_decision(catalog, decision("r2", "reject"))
    assert [item.answer for item in list_decisions(catalog, INSPECTION)] == ["reject", "promote"]


def test_a_release_is_logged_once_until_something_else_happens(catalog: Catalog) -> None:
    def log(version: str) -> bool:
        entry = ReleaseEntry(
            inspection=INSPECTION, channel="stable", action="release", who="flow", at=T0, version=version,
            engine_sha256=version,
        )  # fmt: skip
        return record_release(catalog, entry)

    assert [log(version) for version in ("1", "1", "2", "1")] == [True, False, True, True]
    assert [entry.version for entry in list_releases(catalog, INSPECTION)] == ["1", "2", "1"]


def test_the_status_counts_what_is_there_each_number_with_its_n(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 80 + ["crack"] * 20, np.ones(100), keep=40, lose=2, excluded=5)
    line.stream(["crack"] * 3, np.ones(3), keep=3, extra="flag")
    drawn = draw(catalog, INSPECTION, 10, random=random.Random(1), at=T0)
    for sample in drawn.sample_ids[:8]:
        line.label(sample)
    record_cannot_tell(catalog, sample_id=drawn.sample_ids[8], who="ann", event_id="c", at=T0)
    record_heartbeat(catalog, heartbeat(3), received_at=T0)
    factory_sample(catalog, "f1")
    record_decision(catalog, decision("r1"))
    with catalog.session() as session:
        session.add(QuarantineRow(kind="window", key="inbox/x", reason="signature", bytes=3, at=T0))
    status = loop_status(catalog, INSPECTION)
    assert (status.frames, status.excluded, status.missing, status.windows) == (108, 5, 2, 2)
    assert (status.captured, status.counted, status.factory) == (41, 38, 1)
    assert (status.drawn, status.waiting, status.not_offered, status.cannot_tell) == (10, 4, 0, 1)  # 1 drawn, 3 flagged
    assert status.labelled == {"field": 8, "factory": 0}
    assert sum(status.labels_by_class.values()) == 8
    assert (status.defect_rate.n, status.defect_rate.population) == (8, 103)
    assert status.defect_rate.low <= status.defect_rate.value <= status.defect_rate.high
    assert (status.quarantine, status.quarantine_newest[0].reason) == (1, "signature")
    first, second = status.devices
    assert (first.frames, first.captured, first.uploaded_bytes) == (108, 41, 4300)
    assert first.heartbeat is not None
    assert (first.heartbeat.engine_id, second.heartbeat, second.frames) == ("e1", None, 0)
    assert loop_statuses(catalog) == [status]


def test_of_many_devices_those_that_are_not_well_are_listed(catalog: Catalog, line: Line) -> None:
    for i in range(30):
        register_device(catalog, f"m{i:02d}", "plant", "oven", [INSPECTION], f"{i:064x}", at=T0)
    record_heartbeat(catalog, replace(heartbeat(1), device="m29", health="degraded"), received_at=T0)
    status = loop_status(catalog, INSPECTION)
    assert (status.device_total, len(status.devices)) == (32, MOST_DEVICES)
    assert [state.device.name for state in status.devices][:3] == ["m29", "line-1", "line-2"]


def test_the_status_is_plain_json(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 4, np.ones(4), keep=4)
    record_heartbeat(catalog, heartbeat(1), received_at=T0)
    value = json.loads(json.dumps(loop_status(catalog, INSPECTION).to_dict()))
    assert value["defect_rate"] == {"value": None, "low": 0.0, "high": 1.0, "n": 0, "population": 0, "level": 0.95}
    assert value["devices"][0]["heartbeat"]["engine_id"] == "e1"
    assert value["last_window_at"] == (T0 + timedelta(minutes=6)).isoformat()


def test_an_empty_inspection_has_a_status(catalog: Catalog) -> None:
    status = loop_status(catalog, INSPECTION)
    assert (status.frames, status.labelled, status.last_label_at) == (0, {"field": 0, "factory": 0}, None)


def test_labels_that_no_snapshot_has_seen_are_new_whatever_the_clock_says(
    catalog: Catalog, line: Line, tmp_path: Path
) -> None:
    lake = Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "cache")
    one, two = line.stream(["ok"] * 2, np.ones(2), keep=2)
    line.label(one)
    assert new_labels_since_snapshot(catalog, INSPECTION) == 1
    take_snapshot(catalog, lake, INSPECTION, at=T0 + timedelta(minutes=1))
    assert new_labels_since_snapshot(catalog, INSPECTION) == 0
    line.label(two, at=T0 - timedelta(days=1))  # a clock that is behind
    assert new_labels_since_snapshot(catalog, INSPECTION) == loop_status(catalog, INSPECTION).new_labels == 1


def test_a_label_that_changes_nothing_does_not_ask_for_training_for_ever(
    catalog: Catalog, line: Line, tmp_path: Path
) -> None:
    lake = Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "cache")
    (sample,) = line.stream(["ok"], np.ones(1), keep=1)
    line.label(sample)
    first = take_snapshot(catalog, lake, INSPECTION, at=T0)
    line.label(sample, who="bob")  # agrees
    assert new_labels_since_snapshot(catalog, INSPECTION) == 1
    assert take_snapshot(catalog, lake, INSPECTION, at=T0 + timedelta(hours=1)).id == first.id
    assert new_labels_since_snapshot(catalog, INSPECTION) == 0
