"""What a fleet asks of a real bucket: conditional reads, listings by the page, and a whole rollout on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data.catalog import Catalog
from data.devices import register_device
from data.heartbeats import ingest_heartbeats
from data.inspections import create_inspection
from data.policy import Policy
from edge_client.contract.bucket import S3Bucket
from edge_client.contract.errors import BucketError, NotFound, Refused
from edge_client.contract.names import status_key
from edge_client.contract.signing import public_hex
from infra.simulation.plan import Plan
from infra.simulation.run import simulate
from tests.integration.capture.weed import Weed, running_weed
from tests.unit.contract.test_names_and_documents import BEAT
from tests.unit.fleet.plant import KEY


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    with running_weed(tmp_path_factory.mktemp("weed")) as weed:
        yield weed


@pytest.fixture
def bucket(weed: Weed) -> Iterator[S3Bucket]:
    made = S3Bucket.connect(weed.settings)
    yield made
    for prefix in ("fleet/", "releases/"):
        for info in list(made.list(prefix)):
            made.delete(info.key)


def test_an_object_comes_only_if_it_changed(bucket: S3Bucket) -> None:
    bucket.put("releases/x", b"one")
    first = bucket.get_changed("releases/x", etag=None, max_bytes=10)
    assert first is not None
    assert bucket.get_changed("releases/x", etag=first.etag, max_bytes=10) is None
    bucket.put("releases/x", b"two")
    second = bucket.get_changed("releases/x", etag=first.etag, max_bytes=10)
    assert second is not None
    assert second.data == b"two"
    with pytest.raises(NotFound):
        bucket.get_changed("releases/y", etag=first.etag, max_bytes=10)
    with pytest.raises(BucketError, match="at most 2 are read"):
        bucket.get_changed("releases/x", etag=first.etag, max_bytes=2)


def test_a_device_may_ask_conditionally_with_its_own_rights(bucket: S3Bucket, weed: Weed) -> None:
    bucket.put("releases/x", b"one")
    own = S3Bucket.connect(weed.enrol("line-1"))
    found = own.get_changed("releases/x", etag=None, max_bytes=10)
    assert found is not None
    assert own.get_changed("releases/x", etag=found.etag, max_bytes=10) is None
    with pytest.raises(Refused):
        own.get_changed(status_key("line-2"), etag=None, max_bytes=10)


def test_a_fleet_of_several_pages_is_read_once_and_then_only_what_changed(bucket: S3Bucket, tmp_path: Path) -> None:
    catalog = Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}")
    create_inspection(catalog, BEAT.inspection, [("ok", "ok"), ("defect", "defect")])
    names = [f"line-{i}" for i in range(23)]
    for name in names:
        register_device(catalog, name, "plant", "s", [BEAT.inspection], public_hex(KEY), at=datetime.now(UTC))

    def beat(name: str, sequence: int) -> None:
        bucket.put(status_key(name), replace(BEAT, device=name, sequence=sequence).sign(KEY))

    for name in names:
        beat(name, 1)
    first = ingest_heartbeats(catalog, bucket, page=10)
    assert (sorted(first.new), first.shards) == (sorted(names), 3)
    for name in names[:2]:
        beat(name, 2)
    again = ingest_heartbeats(catalog, bucket, page=10)
    assert (sorted(again.new), again.unchanged, again.shards) == (names[:2], 21, 3)
    catalog.close()


def test_a_bad_version_is_taken_back_by_itself_on_a_real_bucket(bucket: S3Bucket, tmp_path: Path) -> None:
    """One device's trial runs in a child process, as on a real device."""
    plan = Plan(devices=8, warm_up_hours=0.3, most_hours=1, settle_hours=0.1, bad="crash", children=1, poll_seconds=120)
    report = simulate(plan, bucket=bucket, folder=tmp_path / "fleet", policy=Policy())
    assert report.course.state == "reverted", report.course
    assert (report.bad_confirmed, report.without_engine) == (0, 0)
    assert report.course.confirmed == 0
    assert 1 <= report.bad_served <= 2
    assert report.quiet.requests["get"] == report.quiet.requests["missing"] == 0  # nothing but conditional looks
