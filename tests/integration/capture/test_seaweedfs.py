"""Capture against the real bucket server, with a device's own rights."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_client import Client
from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.errors import Refused
from edge_client.contract.names import record_key
from edge_client.contract.record import WindowRecord
from edge_client.figures import read_ledger
from tests.integration.capture.weed import Weed, running_weed
from tests.integration.capture.wrong_clock import WrongClock
from tests.unit.capture.device import Bundle, noise


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    with running_weed(tmp_path_factory.mktemp("weed")) as server:
        yield server


def enrolled(folder: Path, settings: S3Settings) -> Bundle:
    bundle = Bundle(
        folder,
        bucket=f"""
name = "{settings.bucket}"
endpoint_url = "{settings.endpoint_url}"
credentials = "credentials.toml"
""",
    )
    (folder / "credentials.toml").write_text(
        f'access_key_id = "{settings.access_key_id}"\nsecret_access_key = "{settings.secret_access_key}"\n'
    )
    return bundle


def rights_of(weed: Weed) -> S3Settings:
    """The rights of line-1; new IAM users take a moment to be known."""
    settings = weed.enrol("line-1")
    bucket = S3Bucket.connect(settings, attempts=1)
    until = time.monotonic() + 20
    while True:
        try:
            bucket.put("fleet/line-1/status.json", b"{}")
        except Refused:
            if time.monotonic() > until:
                raise
        else:
            return settings


def test_samples_arrive_through_outage_crash_of_the_bucket_and_end_with_revocation(weed: Weed, tmp_path: Path):
    settings = rights_of(weed)
    with pytest.raises(Refused):
        S3Bucket.connect(settings, attempts=1).put("inbox/line-2/000001-00000001/0.tar", b"x")
    bundle = enrolled(tmp_path / "device", settings)
    cloud = S3Bucket.connect(weed.settings)
    with Client.from_config(bundle.config) as client:
        for i in range(10):
            client.predict(noise(i), part_id=f"A{i}")
        assert client.flush(seconds=30)

        weed.kill()  # the bucket is away
        for i in range(10, 20):
            client.predict(noise(i), part_id=f"A{i}")
        assert not client.flush(seconds=1)
        assert client.status()["requests"]["lost"] == 0
        weed.start()
        weed.wait_until_ready()
        assert client.flush(seconds=60)
        assert client.status()["capture"]["upload"]["problem"] == ""

        records = bundle.records(cloud)
        parts = {b.part_id for r in records for b in bundle.blobs(r, cloud).values()}
        assert parts == {f"A{i}" for i in range(20)}

        weed.revoke("line-1", settings.access_key_id)
        client.predict(noise(99), part_id="late")
        deadline = time.monotonic() + 20
        while client.flush(seconds=1):  # revocation takes a moment to be known
            assert time.monotonic() < deadline
            client.predict(noise(98), part_id="late")
        assert "credentials" in client.status()["capture"]["upload"]["problem"]
        client.close(flush_seconds=0)
    kept = [e for e in read_ledger(bundle.folder / "state" / "spool") if e.state == "kept"]
    assert len(kept) >= 1  # a refusal removes nothing


@pytest.mark.parametrize("begins", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 6, 1, tzinfo=UTC)])
def test_a_device_whose_clock_is_wrong_uploads_and_says_so(weed: Weed, tmp_path: Path, begins: datetime):
    """The bucket refuses what is signed with such a clock; its answer tells the time to sign with."""
    bundle = enrolled(tmp_path / "device", weed.settings)
    with Client.from_config(bundle.config, clock=WrongClock(begins)) as client:
        for i in range(3):
            client.predict(noise(i))
        assert client.flush(seconds=30)
        status = client.status()
    assert status["capture"]["upload"]["samples_sent"] == 3
    assert abs(begins + timedelta(seconds=status["clock_behind_bucket_seconds"]) - datetime.now(UTC)).days == 0
    (problem,) = [p for p in status["problems"] if p.startswith("clock")]
    assert f"says {begins:%Y-%m-%d}" in problem
    assert "set the clock" in problem
    epoch = next(read_ledger(bundle.folder / "state" / "spool")).epoch
    document = S3Bucket.connect(weed.settings).get(record_key("line-1", epoch, 1), max_bytes=1 << 20)
    record = WindowRecord.verify(document, bundle.public_key)
    assert (record.frames, record.opened_at.year) == (3, begins.year)
