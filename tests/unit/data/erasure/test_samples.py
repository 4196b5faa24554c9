"""Erasing samples: what goes, what stays, and a process that dies anywhere in between."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select, text

from console.samples import Pictures
from data.catalog import Catalog
from data.catalog.models import (
    ErasureRow,
    EventRow,
    LabelEventRow,
    LabelFlagRow,
    OutcomeRow,
    SampleRow,
    SnapshotRow,
    WindowRow,
)
from data.catalog.people import AuditRow
from data.draws import draw, not_offered
from data.erasure.expired import expired_samples
from data.erasure.frames import Stores, erase_frames
from data.erasure.frozen import take_rows
from data.erasure.jobs import Erasure, ErasureKind, begin, finish, overwrite_what_is_free, under_way
from data.erasure.left import FRAME, IDENTITY, NUMBERS
from data.erasure.parts import belongings_of, rename_part
from data.estimates import defect_rate
from data.labels import record_cannot_tell
from data.lake import Lake, LakeRow
from data.snapshots import load_snapshot, take_snapshot
from edge_client.contract.bucket import Bucket, DirectoryBucket
from edge_client.contract.errors import NotFound
from tests.unit.data.captured_line import INSPECTION, T0, Line

COPIES = "exchange/label-studio/"
LATER = T0 + timedelta(days=40)


class Power(Exception):
    """The machine stops here."""


@dataclass
class Failing:
    """A bucket whose machine stops at one of the changes it is asked for, before or after making it."""

    bucket: Bucket
    stops_at: int = -1
    changes: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bucket, name)

    def put(self, key: str, data: bytes, **more: Any) -> None:
        self._change(f"put {key}", lambda: self.bucket.put(key, data, **more))

    def delete(self, key: str) -> None:
        self._change(f"delete {key}", lambda: self.bucket.delete(key))

    def _change(self, what: str, act: Callable[[], None]) -> None:
        for done in (False, True):
            if len(self.changes) == self.stops_at:
                raise Power(what)
            self.changes.append(what)
            if not done:
                act()


@dataclass
class Plant:
    """Labelled samples of one part and of others, in files of the lake that they share."""

    stores: Stores
    line: Line
    ids: list[str]
    part: list[str]
    snapshot_id: str
    cache: Path

    @property
    def catalog(self) -> Catalog:
        return self.stores.catalog

    def image(self, sample_id: str) -> bytes:
        fresh = Lake(self.stores.bucket, self.cache / hashlib.sha256(sample_id.encode()).hexdigest())
        return Pictures(self.catalog, fresh).image(sample_id)[0]

    def sample(self, sample_id: str) -> SampleRow:
        with self.catalog.reading() as session:
            return session.get_one(SampleRow, sample_id)

    def objects(self) -> set[str]:
        return {info.key for info in self.stores.bucket.list("")}

    def on(self, bucket: Bucket) -> Stores:
        return Stores(catalog=self.catalog, bucket=bucket, lake=Lake(bucket, self.cache / "other"), copies=(COPIES,))


def content(sample_id: str) -> bytes:
    return b"image of " + sample_id.encode()


@pytest.fixture
def plant(line: Line, catalog: Catalog, tmp_path: Path) -> Plant:
    labels = ["ok", "ok", "crack", "ok", "void", "ok", "ok", "crack", "ok", "ok"]
    part = line.stream(labels[:4], np.ones(4), 3, part="A-1042")
    ids = part + line.stream(labels[4:], np.ones(6), 4, part="B-7")
    bucket = DirectoryBucket(tmp_path / "bucket")
    lake = Lake(bucket, tmp_path / "cache")
    vector = np.ones(4, np.float16)
    rows = [LakeRow(sample_id=i, image=content(i), media_type="image/png", embedding=vector) for i in ids]
    places = lake.append(INSPECTION, T0.date(), rows)
    with catalog.session() as session:
        for sample_id, place in zip(ids, places, strict=True):
            row = session.get_one(SampleRow, sample_id)
            row.lake_path, row.lake_row, row.context = place.path, place.row, {"serial": row.part_id}
        session.add(EventRow(event_id="f1", device="line-1", inspection=INSPECTION, kind="flag", at=T0,
                             sample_id=part[0], part_id="A-1042", reason="A-1042 is bad", ingested_at=T0))  # fmt: skip
        session.add(OutcomeRow(event_id="o1", inspection=INSPECTION, part_id="A-1042", value="failed", at=LATER,
                               ingested_at=LATER))  # fmt: skip
        session.add(LabelFlagRow(event_id="n1", sample_id=part[0], inspection=INSPECTION, who="ann", at=T0,
                                 note="A-1042 again"))  # fmt: skip
    draw(catalog, INSPECTION, n=len(ids), random=line.rng, at=T0)
    for sample_id in ids:
        line.label(sample_id)
    lake.put_mark(INSPECTION, hashlib.sha256(part[0].encode()).hexdigest(), b"mark")
    bucket.put(f"{COPIES}{INSPECTION}/{part[0]}", content(part[0]))
    snapshot = take_snapshot(catalog, lake, INSPECTION, at=T0)
    stores = Stores(catalog=catalog, bucket=bucket, lake=lake, copies=(COPIES,))
    return Plant(stores, line, ids, part, snapshot.id, tmp_path)


def begun(plant: Plant) -> Erasure:
    found = belongings_of(plant.catalog, plant.stores.lake, part_id="A-1042")
    return begin(
        plant.catalog, ErasureKind.PART, who="root", at=LATER, pseudonym="part-abc",
        subject={"about": "A-1042", "samples": [dict(one) for one in found.samples]},
    )  # fmt: skip


def carry_out(stores: Stores, erasure: Erasure) -> None:
    ids = [one["sample_id"] for one in erasure.subject["samples"]]
    erase_frames(stores, erasure, ids, at=LATER)
    take_rows(stores.catalog, stores.lake, erasure, INSPECTION, ids)
    rename_part(stores.catalog, erasure, erasure.subject["about"])
    finish(stores.catalog, erasure, at=LATER)


def check_gone(plant: Plant) -> None:
    """All that must hold once the part is erased, whatever happened on the way."""
    for sample_id in plant.part:
        with pytest.raises(NotFound, match="was erased"):
            plant.image(sample_id)
        row = plant.sample(sample_id)
        assert (row.part_id, row.group, row.context, row.image_sha256) == ("part-abc", "erased:part-abc", {}, "")
    for sample_id in plant.ids[len(plant.part) :]:
        assert plant.image(sample_id) == content(sample_id)
    everything = b"".join(path.read_bytes() for path in (plant.cache / "bucket").rglob("*") if path.is_file())
    assert not [i for i in plant.part if content(i) in everything]
    assert content(plant.ids[-1]) in everything
    table = f"lake/{INSPECTION}/snapshots/{plant.snapshot_id}.parquet"
    assert plant.objects() == {plant.sample(plant.ids[-1]).lake_path, table}
    left = load_snapshot(plant.catalog, Lake(plant.stores.bucket, plant.cache / "fresh"), plant.snapshot_id)
    assert set(left.rows["sample_id"].to_pylist()) == set(plant.ids) - set(plant.part)
    with plant.catalog.reading() as session:
        snapshot = session.get_one(SnapshotRow, plant.snapshot_id)
        (outcome,) = session.scalars(select(OutcomeRow))
        (flag,) = session.scalars(select(EventRow))
        (audit,) = session.scalars(select(AuditRow).where(AuditRow.what == "erase.part"))
        assert not list(session.scalars(select(LabelFlagRow)))
    assert snapshot.erased == len(plant.part)
    assert (outcome.part_id, outcome.value) == ("part-abc", "failed")
    assert (flag.part_id, flag.reason) == ("part-abc", None)
    assert audit.facts["samples"] == len(plant.part)
    assert not under_way(plant.catalog)
    files = b"".join(path.read_bytes() for path in plant.cache.glob("catalog.db*"))
    assert b"A-1042" not in files


def test_a_part_is_erased_and_no_rate_changes(plant: Plant) -> None:
    before = defect_rate(plant.catalog, INSPECTION)
    old_file = plant.sample(plant.part[0]).lake_path

    found = belongings_of(plant.catalog, plant.stores.lake, part_id="A-1042")
    assert (found.sample_ids, found.labelled, found.estimated) == (sorted(plant.part), 3, 3)
    assert (found.events, found.outcomes, found.snapshots) == (1, 1, {INSPECTION: {plant.snapshot_id: 3}})
    carry_out(plant.stores, begun(plant))

    check_gone(plant)
    assert old_file not in plant.objects()
    assert defect_rate(plant.catalog, INSPECTION) == before
    assert belongings_of(plant.catalog, plant.stores.lake, part_id="A-1042").nothing
    newer = take_snapshot(plant.catalog, plant.stores.lake, INSPECTION, at=LATER)
    assert newer.counts["left_out/erased"] == 3


def test_a_machine_that_stops_before_or_after_any_change_of_the_bucket_is_gone_on_with(plant: Plant) -> None:
    erasure, stopped = begun(plant), []
    for run in range(60):
        try:
            carry_out(plant.on(Failing(plant.stores.bucket, stops_at=run // 2)), erasure)
            break
        except Power as power:
            stopped.append(str(power))
            (erasure,) = under_way(plant.catalog)
    check_gone(plant)
    assert {"/".join(change.split("/")[:3]) for change in stopped} == {
        f"put lake/{INSPECTION}/images",  # without the part
        f"delete lake/{INSPECTION}/images",
        f"delete lake/{INSPECTION}/marks",
        f"delete {COPIES}{INSPECTION}",
        f"put lake/{INSPECTION}/snapshots",
    }


def test_a_sample_that_was_never_drawn_counts_as_missing_and_is_not_offered(
    line: Line, catalog: Catalog, tmp_path: Path
) -> None:
    (one, *others) = line.stream(["ok"] * 6, np.ones(6), 4)
    erase(catalog, tmp_path, [one])
    with catalog.reading() as session:
        assert {row.sample_id for row in session.scalars(not_offered(INSPECTION))} == set(others)
        (window,) = session.scalars(select(WindowRow))
    assert window.missing == 1


def test_a_sample_that_waits_for_a_label_is_asked_for_no_more(line: Line, catalog: Catalog, tmp_path: Path) -> None:
    ids = line.stream(["ok", "crack", "ok", "ok"], np.ones(4), 3)
    draw(catalog, INSPECTION, n=3, random=line.rng, at=T0)
    for sample_id in ids[1:]:
        line.label(sample_id)
    assert defect_rate(catalog, INSPECTION).n < 3
    erase(catalog, tmp_path, ids[:1])
    with catalog.reading() as session:
        (event,) = session.scalars(select(LabelEventRow).where(LabelEventRow.sample_id == ids[0]))
    assert (event.kind, event.source) == ("cannot_tell", "erasure")


def erase(catalog: Catalog, folder: Path, ids: list[str]) -> None:
    with catalog.session() as session:
        for row in session.scalars(select(SampleRow)):
            row.lake_path = ""  # no image was ever stored for these
    bucket = DirectoryBucket(folder / "bucket")
    erasure = begin(catalog, ErasureKind.SAMPLE, who="root", at=LATER, pseudonym="p", subject={"about": "x"})
    erase_frames(Stores(catalog=catalog, bucket=bucket, lake=Lake(bucket, folder / "cache")), erasure, ids, at=LATER)


def test_frames_expire_that_are_old_and_that_nothing_needs(line: Line, catalog: Catalog) -> None:
    ids = line.stream(["ok"] * 12, np.ones(12), 9)
    (flagged,) = line.stream(["ok"] * 3, np.ones(3), 1, extra="flag")
    (spare,) = line.stream(["ok"] * 3, np.ones(3), 1, extra="spare")
    assert expired(catalog) == {spare}  # the others' window was not drawn yet

    draw(catalog, INSPECTION, n=3, random=line.rng, at=T0)
    drawn = drawn_of(catalog, ids)
    passed_over = set(ids) - drawn
    assert expired(catalog) == passed_over | {spare}

    one = min(passed_over)
    record_cannot_tell(catalog, sample_id=one, who="ann", event_id="c1", at=T0)
    assert expired(catalog) == (passed_over - {one}) | {spare}
    assert flagged not in expired(catalog)
    assert not expired(catalog, days=0)
    assert not expired(catalog, days=41)


def expired(catalog: Catalog, days: float = 30) -> set[str]:
    return set(expired_samples(catalog, INSPECTION, days=days, now=LATER, limit=100))


def drawn_of(catalog: Catalog, ids: list[str]) -> set[str]:
    from data.catalog.models import DrawItemRow

    with catalog.reading() as session:
        return set(session.scalars(select(DrawItemRow.sample_id).where(DrawItemRow.drawn)))


@pytest.mark.sqlite_file
def test_no_page_of_the_file_keeps_what_was_deleted(catalog: Catalog, tmp_path: Path) -> None:
    secret = "serial-of-a-part " * 2_000
    with catalog.session() as session:
        session.add(ErasureRow(kind="part", who=secret, at=T0, pseudonym="", subject={}, delete_next=[], counts={}))
    with catalog.session() as session:
        session.execute(text("PRAGMA secure_delete = OFF"))  # some builds of SQLite have it on
        session.execute(delete(ErasureRow))
    catalog.engine.raw_connection().cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert secret[:40].encode() in (tmp_path / "catalog.db").read_bytes()
    overwrite_what_is_free(catalog)
    assert secret[:40].encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("catalog.db*"))


def test_every_column_of_a_sample_is_decided() -> None:
    assert {column.name for column in SampleRow.__table__.columns} == NUMBERS | FRAME | IDENTITY
