"""Several workers (rule 12 of `data.ingest`)."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import event, select

from data.catalog.models import SampleRow, WindowRow
from data.ingest.inbox import IngestProgress
from data.policy import QuotaPolicy
from edge_client.contract.errors import Unavailable
from tests.unit.ingest.conftest import Cloud
from tests.unit.ingest.uploads import Upload, put


class Watched:
    """A bucket that notes which thread gets what, and can let one device's shards wait for another's."""

    def __init__(self, inner: Any, *, waits: str = "", away: bool = False) -> None:
        self._inner, self._waits, self._away = inner, waits, away
        self.taken: list[tuple[str, str]] = []
        self.others_done, self.in_time = threading.Event(), True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get(self, key: str, **options: Any) -> bytes:
        if key.endswith(".tar"):
            if self._away:
                raise Unavailable("the bucket is away")
            if self._waits and self._waits in key:
                self.in_time &= self.others_done.wait(60)
        elif key.startswith("inbox/"):
            self.taken.append((threading.current_thread().name, key))
        return bytes(self._inner.get(key, **options))


def test_each_device_is_one_workers_and_its_windows_stay_in_order(cloud: Cloud) -> None:
    sent: set[str] = set()
    for number in range(3):
        for device in (cloud.line, cloud.other):
            upload = device.window(number, samples=2, shards=1)
            put(cloud.bucket, upload)
            sent.update(upload.sample_ids)
    cloud.bucket = watched = Watched(cloud.bucket)  # type: ignore[assignment]
    told: list[IngestProgress] = []
    report = cloud.ingest(workers=2, progress=told.append)
    assert (report.windows, report.samples, report.samples_by_inspection) == (6, 12, {"tiles": 12})
    by_device = {name: [(t, k) for t, k in watched.taken if name in k] for name in ("line-1", "line-2")}
    threads = [{thread for thread, _ in taken} for taken in by_device.values()]
    assert [len(each) for each in threads] == [1, 1]
    assert threads[0] != threads[1]
    assert all([k for _, k in taken] == sorted(k for _, k in taken) for taken in by_device.values())
    assert sorted(progress.done for progress in told) == [1, 2, 3, 4, 5, 6]
    assert max(progress.samples for progress in told) == 12
    assert cloud.inbox() == []
    with cloud.catalog.reading() as session:
        assert set(session.scalars(select(SampleRow.sample_id))) == sent


def test_a_device_whose_objects_are_slow_does_not_hold_up_the_others(cloud: Cloud) -> None:
    for number in range(2):
        put(cloud.bucket, cloud.line.window(number, samples=1, shards=1))
        put(cloud.bucket, cloud.other.window(number, samples=1, shards=1))
    cloud.bucket = watched = Watched(cloud.bucket, waits="line-1")  # type: ignore[assignment]

    def told(progress: IngestProgress) -> None:
        if "line-2" in progress.key and progress.done == 2:
            watched.others_done.set()

    assert cloud.ingest(workers=2, progress=told).windows == 4
    assert watched.in_time


def test_a_bucket_that_is_away_stops_every_worker(cloud: Cloud) -> None:
    for number in range(9):
        put(cloud.bucket, cloud.line.window(number, samples=1, shards=1))
        put(cloud.bucket, cloud.other.window(number, samples=1, shards=1))
    cloud.bucket = Watched(cloud.bucket, away=True)  # type: ignore[assignment]
    report = cloud.ingest(workers=2)
    assert report.stopped is not None
    assert 3 <= len(report.deferred) <= 6
    assert len(cloud.inbox()) == 36


def test_a_quota_holds_with_several_workers(cloud: Cloud) -> None:
    for number in range(3):
        put(cloud.bucket, cloud.line.window(number, samples=1, shards=1))
        put(cloud.bucket, cloud.other.window(number, samples=1, shards=1))
    report = cloud.ingest(workers=2, quota=QuotaPolicy(windows_per_day=2))
    assert report.windows == 4
    assert set(report.over_quota) == {"line-1", "line-2"}


def test_no_worker_at_all_is_refused(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        cloud.ingest(workers=0)


def test_windows_share_a_transaction_and_one_that_cannot_be_added_has_its_own(cloud: Cloud) -> None:
    for number in range(6):
        put(cloud.bucket, cloud.line.window(number, samples=2, shards=1))
    rival = cloud.line.window(3, samples=1, shards=1, frames=7)  # its state was copied

    class Late:
        """The rival's window comes into the catalog after this run looked, and before it commits."""

        def __init__(self, inner: Any) -> None:
            self._inner, self.came = inner, False

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def get(self, key: str, **options: Any) -> bytes:
            if key.endswith("00000003/0.tar") and not self.came:
                self.came = True
                with cloud.catalog.session() as session:
                    session.add(_row_of(rival))
            return bytes(self._inner.get(key, **options))

    cloud.bucket = Late(cloud.bucket)  # type: ignore[assignment]
    commits: list[object] = []
    event.listen(cloud.catalog.engine, "commit", commits.append)
    report = cloud.ingest()
    assert (report.windows, report.samples, report.deferred) == (5, 10, [])
    assert [key for key, _ in report.quarantined] == ["inbox/line-1/000001-00000003/window.json"]
    assert cloud.inbox() == []
    assert len(commits) == 1 + 5 + 1  # the rival's; one for each, since one for all failed; the quarantine's
    for number in range(10, 22):
        put(cloud.bucket, cloud.line.window(number, samples=1, shards=1))
    commits.clear()
    assert cloud.ingest().windows == 12
    assert len(commits) == 1


def _row_of(upload: Upload) -> WindowRow:
    record = upload.record
    return WindowRow(
        device=record.device, epoch=record.epoch, window=record.window, inspection=record.inspection, site=record.site,
        station=record.station, opened_at=record.opened_at, closed_at=record.closed_at, engine_ids=[],
        frames=record.frames, weight_total=1.0, threshold=0.0, byte_budget=1, excluded=0, overload=0, class_counts={},
        verdict_counts={}, histograms={}, runs=[], manifest_entries=1, manifest_counted=1, manifest_inverse_p=1.0,
        missing=0, uploaded_bytes=1, record_sha256="0" * 64, ingested_at=record.closed_at,
    )  # fmt: skip
