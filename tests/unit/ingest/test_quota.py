"""A device over its quota waits until tomorrow; nothing of it is lost, and nobody else waits."""

from datetime import timedelta

from data.devices import revoke_device
from data.policy import QuotaPolicy
from data.quotas import usage_of
from tests.unit.ingest.conftest import Cloud
from tests.unit.ingest.uploads import NOW, put


def test_windows_above_the_quota_wait_until_the_next_day(cloud: Cloud) -> None:
    uploads = [cloud.line.window(number, samples=2) for number in (1, 2, 3)]
    for upload in (*uploads, cloud.other.window(1, samples=2)):
        put(cloud.bucket, upload)
    size = sum(map(len, uploads[0].shards.values()))
    quota = QuotaPolicy(bytes_per_day=size + 1)
    report = cloud.ingest(quota=quota)
    assert (report.windows, report.quarantined, report.stopped) == (3, [], None)  # two of line-1, one of line-2
    assert list(report.over_quota) == ["line-1"]
    assert "its quota is" in report.over_quota["line-1"]
    assert [key for key, _ in report.deferred] == [key for key in cloud.inbox() if key.endswith("window.json")]
    assert cloud.ingest(quota=quota).windows == 0
    assert usage_of(cloud.catalog, "line-1", NOW).windows == 2
    tomorrow = NOW + timedelta(days=1)
    assert usage_of(cloud.catalog, "line-1", tomorrow).bytes == 0
    report = cloud.ingest(quota=quota, at=tomorrow)
    assert (report.windows, report.over_quota, cloud.inbox()) == (1, {}, [])


def test_the_number_of_windows_is_bounded_too_and_zero_is_no_bound(cloud: Cloud) -> None:
    for number in range(1, 5):
        put(cloud.bucket, cloud.line.window(number, samples=1))
    report = cloud.ingest(quota=QuotaPolicy(bytes_per_day=0, windows_per_day=2))
    assert (report.windows, len(report.deferred)) == (2, 2)
    assert cloud.ingest(quota=QuotaPolicy(bytes_per_day=0, windows_per_day=0)).windows == 2


def test_a_revoked_device_is_set_aside_whatever_its_quota(cloud: Cloud) -> None:
    for number in (1, 2):
        put(cloud.bucket, cloud.line.window(number, samples=1))
    cloud.ingest(quota=QuotaPolicy(windows_per_day=1))
    revoke_device(cloud.catalog, "line-1", at=NOW)
    report = cloud.ingest(quota=QuotaPolicy(windows_per_day=1))
    assert (report.over_quota, len(report.quarantined), cloud.inbox()) == ({}, 1, [])
