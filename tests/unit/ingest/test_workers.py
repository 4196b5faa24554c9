"""Several workers (rule 12 of `data.ingest`)."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select

from data.catalog.models import SampleRow
from data.ingest.inbox import IngestProgress
from data.policy import QuotaPolicy
from edge_client.contract.errors import Unavailable
from tests.unit.ingest.conftest import Cloud
from tests.unit.ingest.uploads import put


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
