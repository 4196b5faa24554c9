from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from data.catalog.models import EventRow, OutcomeRow, QuarantineRow, SampleRow, WindowRow
from data.devices import register_device, revoke_device
from data.quarantine import list_quarantine, restore_window
from edge_client.contract.bucket import ObjectInfo
from edge_client.contract.errors import Unavailable
from edge_client.contract.names import record_key, shard_key
from edge_client.contract.sample import Event
from edge_client.contract.sealing import generate_identity, load_identity
from edge_client.contract.shard import write_shard
from edge_client.contract.signing import public_hex
from tests.unit.ingest.conftest import Cloud
from tests.unit.ingest.uploads import INSPECTION, NOW, Uploader, png, png_header, put


def rows(cloud: Cloud, model: Any) -> list[Any]:
    with cloud.catalog.reading() as session:
        return list(session.scalars(select(model)))


def test_a_window_becomes_samples_with_their_images(cloud: Cloud) -> None:
    upload = cloud.line.window(7, samples=5, threshold=4.0)  # w/u = 2 is below tau: none counts
    put(cloud.bucket, upload)
    report = cloud.ingest()
    assert (report.windows, report.samples, report.missing, report.quarantined) == (1, 5, 0, [])
    assert report.frames == 100
    assert report.bytes == sum(map(len, upload.shards.values()))
    assert cloud.inbox() == []
    samples = rows(cloud, SampleRow)
    assert {row.sample_id for row in samples} == set(upload.sample_ids)
    for row in samples:
        stored = cloud.lake.stored(row.lake_path, row.lake_row)
        assert stored.sample_id == row.sample_id
        assert hashlib.sha256(stored.image).hexdigest() == row.image_sha256
        assert np.array_equal(stored.embedding, np.arange(8, dtype=np.float16))
        assert np.array_equal(stored.anomaly_map, np.arange(6, dtype=np.float16).reshape(2, 3))
        assert (row.width, row.height, row.counted, row.p1) == (24, 24, False, None)
        assert row.group == f"part:{row.part_id}"
        assert row.split in ("train", "holdout")


@pytest.mark.parametrize(("threshold", "p"), [(0.0, 1.0), (1.0, 0.5), (0.4, 1.0)])
def test_a_counted_sample_carries_its_inclusion_probability(cloud: Cloud, threshold: float, p: float) -> None:
    put(cloud.bucket, cloud.line.window(1, samples=3, threshold=threshold))
    cloud.ingest()
    assert {(row.counted, row.p1) for row in rows(cloud, SampleRow)} == {(True, p)}
    (window,) = rows(cloud, WindowRow)
    assert (window.manifest_entries, window.manifest_counted, window.manifest_inverse_p) == (3, 3, 3 / p)


def test_the_same_window_again_is_a_duplicate_and_leaves_the_inbox_empty(cloud: Cloud) -> None:
    upload = cloud.line.window(1)
    put(cloud.bucket, upload)
    cloud.ingest()
    put(cloud.bucket, upload)
    again = cloud.ingest()
    assert (again.windows, again.samples, again.duplicates) == (0, 0, 1)
    assert len(rows(cloud, SampleRow)) == 4
    assert cloud.inbox() == []


def test_another_record_in_the_place_of_a_known_window_is_quarantined(cloud: Cloud) -> None:
    put(cloud.bucket, cloud.line.window(1))
    cloud.ingest()
    put(cloud.bucket, cloud.line.window(1, samples=2))
    report = cloud.ingest()
    assert "by another record" in report.quarantined[0][1]
    assert len(rows(cloud, SampleRow)) == 4
    assert cloud.inbox() == []


def test_an_upload_signed_by_another_device_is_quarantined_and_its_bytes_are_kept(cloud: Cloud) -> None:
    upload = cloud.line.window(1)
    forged = replace(upload, document=upload.record.sign(cloud.other.key))
    put(cloud.bucket, forged)
    put(cloud.bucket, cloud.other.window(1))
    report = cloud.ingest()
    ((key, reason),) = report.quarantined
    assert key == record_key("line-1", 1, 1)
    assert "another device" in reason
    assert report.windows == 1  # the other device's own window is not held up
    (item,) = list_quarantine(cloud.catalog)
    assert cloud.bucket.get(item.moved_to or "", max_bytes=1 << 20) == forged.document
    kept = cloud.bucket.get(f"lake/quarantine/{shard_key('line-1', 1, 1, 0)}", max_bytes=1 << 20)
    assert kept == upload.shards[0]
    assert cloud.inbox() == []


def test_a_record_moved_to_another_devices_path_is_quarantined(cloud: Cloud) -> None:
    upload = cloud.line.window(1)
    cloud.bucket.put(record_key("line-2", 1, 1), upload.record.sign(cloud.other.key))
    assert "in the place of" in cloud.ingest().quarantined[0][1]


def test_a_record_moved_to_another_window_is_quarantined(cloud: Cloud) -> None:
    cloud.bucket.put(record_key("line-1", 1, 2), cloud.line.window(1).document)
    assert "in the place of" in cloud.ingest().quarantined[0][1]


def test_an_unregistered_devices_window_is_quarantined_and_can_be_restored_after_enrolment(cloud: Cloud) -> None:
    late = Uploader("line-9", cloud.line.recipient)
    put(cloud.bucket, late.window(3))
    ((key, reason),) = cloud.ingest().quarantined
    assert "not registered" in reason
    assert cloud.inbox() == []
    register_device(cloud.catalog, "line-9", "site-1", "s", [INSPECTION], public_hex(late.key), at=NOW)
    assert restore_window(cloud.catalog, cloud.bucket, key) == 3
    report = cloud.ingest()
    assert (report.windows, report.samples) == (1, 4)
    assert list(cloud.bucket.list("lake/quarantine/")) == []
    assert list_quarantine(cloud.catalog) == []


def test_a_revoked_devices_window_is_quarantined(cloud: Cloud) -> None:
    revoke_device(cloud.catalog, "line-1", at=NOW)
    put(cloud.bucket, cloud.line.window(1))
    assert "revoked" in cloud.ingest().quarantined[0][1]
    assert rows(cloud, SampleRow) == []


def test_a_device_that_is_not_enrolled_for_the_inspection_is_quarantined(cloud: Cloud) -> None:
    put(cloud.bucket, cloud.line.window(1, inspection="welds"))
    assert "not enrolled for inspection 'welds'" in cloud.ingest().quarantined[0][1]


def test_a_tampered_shard_is_quarantined_and_the_rest_of_its_window_goes_on(cloud: Cloud) -> None:
    upload = cloud.line.window(1)
    put(cloud.bucket, upload)
    tampered = bytearray(upload.shards[1])
    tampered[700] ^= 1
    cloud.bucket.put(shard_key("line-1", 1, 1, 1), bytes(tampered))
    report = cloud.ingest()
    assert (report.windows, report.samples, report.missing) == (1, 2, 2)
    assert "tampered" in report.quarantined[0][1]
    (window,) = rows(cloud, WindowRow)
    assert (window.missing, window.manifest_entries) == (2, 4)
    assert cloud.bucket.get(f"lake/quarantine/{shard_key('line-1', 1, 1, 1)}", max_bytes=1 << 20) == bytes(tampered)
    assert cloud.inbox() == []


def test_a_shard_of_another_length_than_the_record_says_is_not_read(cloud: Cloud) -> None:
    upload = cloud.line.window(1)
    put(cloud.bucket, upload)
    cloud.bucket.put(shard_key("line-1", 1, 1, 0), upload.shards[0] + bytes(100_000))
    report = cloud.ingest()
    assert (report.samples, report.missing) == (2, 2)
    assert "signed record names" in report.quarantined[0][1]


BAD_IMAGES = {
    "truncated": (png(5)[:-40], "truncated"),
    "40,000 x 40,000 header": (png_header(40_000, 40_000), "DecompressionBomb"),
    "10,000 x 10,000 header": (png_header(10_000, 10_000), "DecompressionBomb"),
    "not an image": (b"MZ\x90\x00 hello", "neither PNG"),
    "empty": (b"", "begins with nothing"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_quarantined_alone(cloud: Cloud, name: str) -> None:
    image, words = BAD_IMAGES[name]
    bad = cloud.line.blob(1001).sample_id
    upload = cloud.line.window(1, change=lambda b: replace(b, image=image) if b.sample_id == bad else b)
    put(cloud.bucket, upload)
    report = cloud.ingest()
    assert (report.samples, report.missing) == (3, 1)
    ((key, reason),) = report.quarantined
    assert key.endswith(f"/{bad}.age")
    assert words in reason
    assert cloud.bucket.head(f"lake/quarantine/members/{key}") is not None
    assert bad not in {row.sample_id for row in rows(cloud, SampleRow)}


def test_a_sample_of_another_device_or_id_is_quarantined_alone(cloud: Cloud) -> None:
    ids = [cloud.line.blob(1000 + n).sample_id for n in range(3)]
    changes = {ids[0]: {"device": "line-2"}, ids[1]: {"sample_id": "f" * 32}, ids[2]: {"inspection": "welds"}}
    put(cloud.bucket, cloud.line.window(1, change=lambda b: replace(b, **changes.get(b.sample_id, {}))))
    report = cloud.ingest()
    assert report.samples == 1
    assert sorted(reason.split("its ")[1].split(" is")[0] for _, reason in report.quarantined) == [
        "device", "inspection", "sample id",
    ]  # fmt: skip


def test_a_window_of_which_nothing_opens_waits_for_the_right_identity(cloud: Cloud, tmp_path: Any) -> None:
    stranger = Uploader("line-1", generate_identity(tmp_path / "other.age"), cloud.line.key)
    put(cloud.bucket, stranger.window(1))
    report = cloud.ingest()
    assert (report.windows, report.samples) == (0, 0)
    ((key, reason),) = report.quarantined
    assert "none of its 4 samples opens" in reason
    restore_window(cloud.catalog, cloud.bucket, key)
    cloud.identity = load_identity(tmp_path / "other.age")
    assert cloud.ingest().samples == 4


def test_a_sample_id_that_the_catalog_has_from_elsewhere_is_quarantined(cloud: Cloud) -> None:
    first = cloud.line.blob(1000).sample_id
    put(cloud.bucket, cloud.line.window(1))
    cloud.ingest()
    upload = cloud.other.window(1, samples=1, change=lambda b: replace(b, sample_id=first))
    entry = replace(upload.record.manifest[0], sample_id=first)
    record = replace(upload.record, manifest=(entry,))
    put(cloud.bucket, replace(upload, record=record, document=record.sign(cloud.other.key)))
    report = cloud.ingest()
    assert (report.windows, report.samples, report.missing) == (1, 0, 1)
    assert "in the catalog already" in report.quarantined[0][1]


def test_a_missing_shard_is_waited_for_and_then_counted_as_non_response(cloud: Cloud) -> None:
    put(cloud.bucket, cloud.line.window(1), leave_out=(1,))
    put(cloud.bucket, cloud.other.window(1))
    info = cloud.bucket.head(record_key("line-1", 1, 1))
    assert isinstance(info, ObjectInfo)
    assert info.modified is not None
    early = cloud.ingest(at=info.modified + timedelta(seconds=10), grace=60)
    assert early.windows == 1
    assert len(early.deferred) == 1
    assert "not there yet" in early.deferred[0][1]
    late = cloud.ingest(at=info.modified + timedelta(seconds=61), grace=60)
    assert (late.windows, late.samples, late.missing) == (1, 2, 2)
    assert "does not have it" in late.quarantined[0][1]
    assert cloud.inbox() == []


def test_a_member_that_the_record_lists_and_the_shard_lacks_is_non_response(cloud: Cloud) -> None:
    upload = cloud.line.window(1, samples=2, shards=1)
    kept = upload.record.manifest[0]
    ghost = replace(kept, sample_id="a" * 32, sequence=99, name="a" * 32 + ".age")
    record = replace(upload.record, manifest=(*upload.record.manifest, ghost))
    put(cloud.bucket, replace(upload, record=record, document=record.sign(cloud.line.key)))
    report = cloud.ingest()
    assert (report.samples, report.missing) == (2, 1)
    assert "does not have it" in report.quarantined[0][1]


def test_shards_without_a_record_stay_where_they_are(cloud: Cloud) -> None:
    upload = cloud.line.window(1)
    cloud.bucket.put(shard_key("line-1", 1, 1, 0), upload.shards[0])
    report = cloud.ingest()
    assert (report.windows, report.unfinished) == (0, 1)
    assert len(cloud.inbox()) == 1


def test_an_object_that_no_record_names_is_kept_aside(cloud: Cloud) -> None:
    put(cloud.bucket, cloud.line.window(1))
    cloud.bucket.put("inbox/line-1/000001-00000001/9.tar", b"stray")
    cloud.ingest()
    assert cloud.inbox() == []
    assert cloud.bucket.get("lake/quarantine/inbox/line-1/000001-00000001/9.tar", max_bytes=9) == b"stray"


def test_a_window_with_no_samples_counts_its_frames(cloud: Cloud) -> None:
    put(cloud.bucket, cloud.line.window(1, samples=0, shards=0))
    report = cloud.ingest()
    assert (report.windows, report.frames, report.samples) == (1, 100, 0)


def events() -> tuple[Event, ...]:
    def event(n: int, **fields: Any) -> Event:
        return Event(event_id=f"{n:032x}", at=NOW, **fields)

    return (
        event(1, kind="flag", sample_id="b" * 32, value="crack", reason="scratch, model says ok"),
        event(2, kind="outcome", part_id="A-1042", value="failed", stage="end-of-line"),
        event(3, kind="outcome", value="failed"),
    )


def test_flags_and_outcomes_go_to_their_tables_once(cloud: Cloud) -> None:
    put(cloud.bucket, cloud.line.window(1, events=events()))
    put(cloud.bucket, cloud.other.window(1, events=events()[:2]))
    report = cloud.ingest()
    assert (report.windows, report.samples, report.events, report.missing) == (2, 8, 2, 0)
    (flag,) = rows(cloud, EventRow)
    assert (flag.kind, flag.sample_id, flag.value, flag.device) == ("flag", "b" * 32, "crack", "line-1")
    (outcome,) = rows(cloud, OutcomeRow)
    assert (outcome.part_id, outcome.value, outcome.stage) == ("A-1042", "failed", "end-of-line")
    assert ["names no part" in reason for _, reason in report.quarantined] == [True]


def test_an_outcome_that_names_a_sample_is_joined_by_that_samples_part(cloud: Cloud) -> None:
    sample = cloud.line.blob(1000).sample_id
    event = Event(event_id="1" * 32, kind="outcome", at=NOW, sample_id=sample, value="failed")
    put(cloud.bucket, cloud.line.window(1, events=(event,)))
    cloud.ingest()
    assert [row.part_id for row in rows(cloud, OutcomeRow)] == ["part-1000"]


def test_text_that_databases_refuse_does_not_hold_up_a_window(cloud: Cloud) -> None:
    def nasty(blob: Any) -> Any:
        return replace(blob, part_id="A\0\N{SNOWMAN}", context={"note": "x\0", "t": float("1e308")})

    put(cloud.bucket, cloud.line.window(1, samples=1, shards=1, change=nasty))
    assert cloud.ingest().samples == 1
    assert "\0" not in rows(cloud, SampleRow)[0].part_id


def test_figures_beyond_what_sums_can_hold_are_refused(cloud: Cloud) -> None:
    upload = cloud.line.window(1, frames=2**40)
    put(cloud.bucket, upload)
    tiny = cloud.other.window(1, samples=1)
    entry = replace(tiny.record.manifest[0], weight=1e-320, u=5e-324)
    record = replace(tiny.record, manifest=(entry,), threshold=1000.0)
    put(cloud.bucket, replace(tiny, record=record, document=record.sign(cloud.other.key)))
    reasons = sorted(reason for _, reason in cloud.ingest().quarantined)
    assert "overflow" in reasons[0]
    assert "frames" in reasons[1]


def test_two_runs_at_once_add_every_sample_once(cloud: Cloud) -> None:
    for number in range(12):
        put(cloud.bucket, cloud.line.window(number, samples=3))
    reports: list[Any] = []
    threads = [threading.Thread(target=lambda: reports.append(cloud.ingest())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 3
    assert all(not r.deferred and not r.quarantined for r in reports)
    assert sum(r.windows for r in reports) == 12
    assert sum(r.samples for r in reports) == 36
    assert len(rows(cloud, SampleRow)) == 36
    assert cloud.inbox() == []


class Flaky:
    """The bucket, away for the objects of one device."""

    def __init__(self, inner: Any, words: str) -> None:
        self._inner, self._words = inner, words

    def __getattr__(self, name: str) -> Any:
        def call(key: str, *args: Any, **kwargs: Any) -> Any:
            if name != "list" and self._words in key:
                raise Unavailable(f"{key}: away")
            return getattr(self._inner, name)(key, *args, **kwargs)

        return call


def test_a_window_that_cannot_be_fetched_is_deferred_and_the_others_go_on(cloud: Cloud) -> None:
    put(cloud.bucket, cloud.line.window(1))
    put(cloud.bucket, cloud.other.window(1))
    real, cloud.bucket = cloud.bucket, Flaky(cloud.bucket, "line-1/000001-00000001/0.tar")  # type: ignore[assignment]
    report = cloud.ingest()
    assert report.windows == 1
    assert len(report.deferred) == 1
    assert report.stopped is None
    cloud.bucket = real
    assert cloud.ingest().windows == 1
    assert rows(cloud, QuarantineRow) == []


def test_a_run_stops_after_three_deferrals_in_a_row(cloud: Cloud) -> None:
    for number in range(6):
        put(cloud.bucket, cloud.line.window(number, samples=1, shards=1))
    real, cloud.bucket = cloud.bucket, Flaky(cloud.bucket, "0.tar")  # type: ignore[assignment]
    report = cloud.ingest()
    assert len(report.deferred) == 3
    assert report.stopped is not None
    cloud.bucket = real
    assert cloud.ingest().windows == 6


def test_progress_is_told_after_each_window(cloud: Cloud) -> None:
    for number in range(3):
        put(cloud.bucket, cloud.line.window(number, samples=1, shards=1))
    told: list[Any] = []
    cloud.ingest(progress=told.append)
    assert [(p.done, p.total, p.samples) for p in told] == [(1, 3, 1), (2, 3, 2), (3, 3, 3)]


def test_a_shard_of_the_right_hash_that_is_no_tar_is_quarantined(cloud: Cloud) -> None:
    upload = cloud.line.window(1, samples=2, shards=1)
    junk = b"x" * 2048
    shard = replace(upload.record.shards[0], sha256=hashlib.sha256(junk).hexdigest(), bytes=len(junk))
    record = replace(upload.record, shards=(shard,))
    put(cloud.bucket, replace(upload, record=record, shards={0: junk}, document=record.sign(cloud.line.key)))
    report = cloud.ingest()
    assert (report.windows, report.missing) == (1, 2)
    assert "tar" in report.quarantined[0][1]
    assert write_shard([])
    assert cloud.inbox() == []


def test_a_repeated_ingest_of_an_interrupted_window_writes_the_same_lake_files(cloud: Cloud) -> None:
    upload = cloud.line.window(1)
    put(cloud.bucket, upload)
    cloud.ingest()
    before = [info.key for info in cloud.bucket.list("lake/")]
    with cloud.catalog.session() as session:  # as if the commit had not happened
        for row in session.scalars(select(SampleRow)):
            session.delete(row)
        session.flush()
        for window in session.scalars(select(WindowRow)):
            session.delete(window)
    put(cloud.bucket, upload)
    cloud.ingest()
    assert [info.key for info in cloud.bucket.list("lake/")] == before
    with cloud.catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(SampleRow)) == 4


def test_a_time_that_no_calendar_has_costs_its_sample_and_no_more(cloud: Cloud) -> None:
    def early(blob: Any) -> Any:
        offset = timezone(timedelta(hours=14))
        return replace(blob, captured_at=datetime(1, 1, 1, tzinfo=offset)) if blob.part_id == "part-1001" else blob

    put(cloud.bucket, cloud.line.window(1, change=early))
    report = cloud.ingest()
    assert (report.windows, report.samples, report.missing, report.deferred) == (1, 3, 1, [])
    put(cloud.bucket, cloud.line.window(2, opened_at=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))))
    assert "opened_at" in cloud.ingest().quarantined[0][1]


def test_whole_windows_and_single_members_of_one_place_can_both_be_in_quarantine(cloud: Cloud) -> None:
    bad = cloud.line.blob(1000).sample_id
    put(cloud.bucket, cloud.line.window(1, change=lambda b: replace(b, image=b"x") if b.sample_id == bad else b))
    assert cloud.ingest().samples == 3
    put(cloud.bucket, cloud.line.window(1))  # another record in its place
    report = cloud.ingest()
    assert not report.deferred
    assert "by another record" in report.quarantined[0][1]
    assert cloud.inbox() == []
