from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.draws import draw
from data.inspections import add_class
from data.labels import record_label, undo_label
from data.lake import Lake
from data.policy import Policy, SnapshotPolicy, SplitPolicy
from data.snapshots import SCHEMA, SnapshotError, latest_snapshot_id, load_snapshot, take_snapshot
from edge_client.contract.bucket import DirectoryBucket
from tests.unit.data.captured_line import INSPECTION, T0, Line, factory_sample, new_catalog, sqlite_url


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "cache")


def say(catalog: Catalog, sample: str, *classes: str, event: str = "") -> None:
    record_label(
        catalog, sample_id=sample, classes=classes, who="ann", event_id=event or f"{sample}:{classes}", at=T0
    )  # fmt: skip


def test_a_snapshot_holds_every_labelled_sample_with_its_probability(catalog: Catalog, line: Line, lake: Lake) -> None:
    factory_sample(catalog, "f1", split="golden")
    say(catalog, "f1", "void")
    line.stream(["ok", "crack"] * 20, np.linspace(0.2, 1, 40), keep=20)
    drawn = draw(catalog, INSPECTION, 8, random=random.Random(1), at=T0)
    for item in drawn.items:
        line.label(item.sample_id)
    extra = line.stream(["crack"], np.ones(1), keep=1, extra="flag")[0]
    line.label(extra)
    snapshot = take_snapshot(catalog, lake, INSPECTION, at=T0)
    rows = {row["sample_id"]: row for row in snapshot.rows.to_pylist()}
    assert set(rows) == {"f1", extra, *drawn.sample_ids}
    assert list(rows) == sorted(rows)
    assert (rows["f1"]["origin"], rows["f1"]["split"], rows["f1"]["probability"]) == ("factory", "golden", None)
    assert rows[extra]["probability"] is None
    for item in drawn.items:
        row = rows[item.sample_id]
        assert row["label"] == line.truth[item.sample_id]
        assert row["probability"] == pytest.approx(row["p1"] * item.p2)
        assert row["captured_at"] == T0
    assert snapshot.counts["factory/golden/void"] == 1
    assert snapshot.rows.schema == SCHEMA


def test_the_same_labels_give_the_same_id_on_another_machine(tmp_path: Path) -> None:
    ids = []
    for machine in ("a", "b"):
        folder = tmp_path / machine
        catalog = new_catalog(sqlite_url(folder))
        lake = Lake(DirectoryBucket(folder / "bucket"), folder / "cache")
        for name in ("f1", "f2") if machine == "a" else ("f2", "f1"):
            factory_sample(catalog, name)
            say(catalog, name, "ok")
        ids.append(take_snapshot(catalog, lake, INSPECTION, at=T0 + timedelta(days=len(ids))).id)
    assert ids[0] == ids[1]


def test_taking_it_again_is_harmless_and_a_change_gives_another(catalog: Catalog, lake: Lake) -> None:
    factory_sample(catalog, "f1")
    say(catalog, "f1", "ok")
    first = take_snapshot(catalog, lake, INSPECTION, at=T0)
    again = take_snapshot(catalog, lake, INSPECTION, at=T0 + timedelta(hours=1))
    assert (again.id, again.created_at) == (first.id, T0)
    say(catalog, "f1", "crack")
    second = take_snapshot(catalog, lake, INSPECTION, at=T0 + timedelta(hours=2))
    assert second.id != first.id
    assert latest_snapshot_id(catalog, INSPECTION) == second.id
    undo_label(catalog, event_id="u", who="ann", at=T0)
    assert take_snapshot(catalog, lake, INSPECTION, at=T0 + timedelta(hours=3)).id == first.id


def test_a_new_class_gives_another_snapshot(catalog: Catalog, lake: Lake) -> None:
    factory_sample(catalog, "f1")
    say(catalog, "f1", "ok")
    first = take_snapshot(catalog, lake, INSPECTION, at=T0)
    add_class(catalog, INSPECTION, "burn", "defect")
    assert take_snapshot(catalog, lake, INSPECTION, at=T0).id != first.id


def test_a_snapshot_is_loaded_as_it_was(catalog: Catalog, lake: Lake) -> None:
    factory_sample(catalog, "f1")
    say(catalog, "f1", "ok")
    taken = take_snapshot(catalog, lake, INSPECTION, at=T0)
    say(catalog, "f1", "crack")
    loaded = load_snapshot(catalog, lake, taken.id)
    assert loaded.rows.equals(taken.rows)
    assert (loaded.classes, loaded.counts, loaded.created_at) == (taken.classes, taken.counts, T0)
    with pytest.raises(SnapshotError, match="unknown to this catalog"):
        load_snapshot(catalog, lake, "0" * 64)


def test_a_snapshot_whose_table_was_changed_is_refused(catalog: Catalog, tmp_path: Path, lake: Lake) -> None:
    factory_sample(catalog, "f1")
    say(catalog, "f1", "ok")
    taken = take_snapshot(catalog, lake, INSPECTION, at=T0)
    rows = taken.rows.to_pylist()
    rows[0]["label"] = "crack"
    lake.put_table(taken.path, taken.rows.from_pylist(rows, schema=SCHEMA))
    fresh = Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "empty-cache")
    with pytest.raises(SnapshotError, match="does not have that content"):
        load_snapshot(catalog, fresh, taken.id)


def test_a_lake_that_is_away_leaves_no_snapshot_that_cannot_be_read(catalog: Catalog) -> None:
    class Away:
        def put_table(self, path: str, table: object) -> None:
            raise OSError("no route to bucket")

        def get_table(self, path: str) -> object:
            raise OSError("no route to bucket")

    factory_sample(catalog, "f1")
    say(catalog, "f1", "ok")
    with pytest.raises(OSError, match="no route"):
        take_snapshot(catalog, Away(), INSPECTION, at=T0)
    assert latest_snapshot_id(catalog, INSPECTION) is None


def test_without_a_label_there_is_no_snapshot(catalog: Catalog, lake: Lake) -> None:
    with pytest.raises(SnapshotError, match="no labelled sample"):
        take_snapshot(catalog, lake, INSPECTION, at=T0)


def test_several_classes_of_one_sample_are_left_out_and_counted(catalog: Catalog, lake: Lake) -> None:
    for name, classes in {"f1": ["ok"], "f2": ["crack", "void"]}.items():
        factory_sample(catalog, name)
        say(catalog, name, *classes)
    snapshot = take_snapshot(catalog, lake, INSPECTION, at=T0)
    assert (snapshot.rows.num_rows, snapshot.counts["left_out/several_classes"]) == (1, 1)


def test_one_device_cannot_fill_the_training_set(catalog: Catalog, lake: Lake) -> None:
    for device, n in {"line-1": 30, "line-2": 4}.items():
        line = Line(catalog, np.random.default_rng(1), device=device)
        for sample in line.stream(["ok"] * n, np.ones(n), keep=n):
            line.label(sample)
    policy = Policy(snapshot=SnapshotPolicy(max_rows_per_device=10))
    snapshot = take_snapshot(catalog, lake, INSPECTION, at=T0, policy=policy)
    devices = snapshot.rows["device"].to_pylist()
    assert (devices.count("line-1"), devices.count("line-2")) == (10, 4)
    assert snapshot.counts["left_out/over_cap"] == 20
    before = set(snapshot.rows["sample_id"].to_pylist())
    wider = Policy(snapshot=SnapshotPolicy(max_rows_per_device=12))
    assert before <= set(take_snapshot(catalog, lake, INSPECTION, at=T0, policy=wider).rows["sample_id"].to_pylist())


def test_field_samples_are_held_out_once_there_are_enough(catalog: Catalog, line: Line, lake: Lake) -> None:
    samples = line.stream(["ok"] * 6, np.ones(6), keep=6)
    with catalog.session() as session:
        session.get_one(SampleRow, samples[0]).split = "holdout"
    for sample in samples:
        line.label(sample)

    def sides(cross_fit_below: int) -> list[str]:
        policy = Policy(split=SplitPolicy(cross_fit_below=cross_fit_below))
        return sorted(take_snapshot(catalog, lake, INSPECTION, at=T0, policy=policy).rows["split"].to_pylist())

    assert sides(7) == ["train"] * 6
    assert sides(6) == ["holdout"] + ["train"] * 5
