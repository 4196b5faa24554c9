"""The bucket on a second real implementation, over TLS: OpenStack Swift with s3api. Run by `make test-swift`."""

import hashlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_client import Client
from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.errors import BucketError, NotFound, Refused, Untrusted
from edge_client.contract.pace import Pace
from edge_client.updates.download import download
from tests.integration.capture.bad_line import self_signed
from tests.integration.capture.wrong_clock import WrongClock
from tests.swift.node import Swift
from tests.unit.capture.device import Bundle, noise


def enrolled(folder: Path, settings: S3Settings, rest: str = "") -> Bundle:
    bundle = Bundle(
        folder,
        bucket=f"""
name = "{settings.bucket}"
endpoint_url = "{settings.endpoint_url}"
ca_bundle = "{settings.ca_bundle}"
credentials = "credentials.toml"
""",
        rest=rest,
    )
    (folder / "credentials.toml").write_text(
        f'access_key_id = "{settings.access_key_id}"\nsecret_access_key = "{settings.secret_access_key}"\n'
    )
    return bundle


def test_it_is_a_bucket(swift: Swift):
    bucket = S3Bucket.connect(swift.settings, attempts=1)
    big = bytes(range(256)) * 20_000
    for n in range(3):
        bucket.put(f"lake/part/{n}.parquet", big[n:])
    bucket.put("lake/part/0.parquet", big)  # a repeated put replaces
    assert bucket.get("lake/part/0.parquet", max_bytes=len(big)) == big
    assert bucket.get_range("lake/part/1.parquet", 100, 50) == big[101:151]
    assert bucket.get_range("lake/part/1.parquet", len(big) + 5, 50) == b""
    assert [(o.key, o.bytes) for o in bucket.list("lake/part/")] == [
        (f"lake/part/{n}.parquet", len(big) - n) for n in range(3)
    ]
    info = bucket.head("lake/part/2.parquet")
    assert info is not None
    assert info.bytes == len(big) - 2
    with pytest.raises(BucketError, match="at most 10 are read"):
        bucket.get("lake/part/0.parquet", max_bytes=10)
    bucket.delete("lake/part/0.parquet")
    bucket.delete("lake/part/0.parquet")
    assert bucket.head("lake/part/0.parquet") is None
    with pytest.raises(NotFound):
        bucket.get("lake/part/0.parquet", max_bytes=10)


def test_a_wrong_secret_and_a_foreign_certificate_are_told(swift: Swift, tmp_path: Path):
    with pytest.raises(Refused, match="enrolment"):
        S3Bucket.connect(replace(swift.settings, secret_access_key="x" * 32), attempts=1).put("a", b"x")
    foreign, _ = self_signed(tmp_path)
    with pytest.raises(Untrusted, match=r"bucket\.ca_bundle"):
        S3Bucket.connect(replace(swift.settings, ca_bundle=str(foreign)), attempts=1).put("a", b"x")


def test_samples_arrive_through_an_outage(swift: Swift, tmp_path: Path):
    bundle = enrolled(tmp_path / "device", swift.settings)
    cloud = S3Bucket.connect(swift.settings)
    with Client.from_config(bundle.config) as client:
        for i in range(10):
            client.predict(noise(i), part_id=f"A{i}")
        assert client.flush(seconds=30)
        swift.kill("proxy")
        for i in range(10, 20):
            client.predict(noise(i), part_id=f"A{i}")
        assert not client.flush(seconds=0.5)
        assert "cannot be reached" in client.status()["capture"]["upload"]["problem"]
        swift.start("proxy")
        swift.wait_until_ready()
        assert client.flush(seconds=60)
    records = bundle.records(cloud)
    parts = {b.part_id for r in records for b in bundle.blobs(r, cloud).values()}
    assert parts == {f"A{i}" for i in range(20)}


def test_an_engine_is_fetched_in_pieces(swift: Swift, tmp_path: Path):
    data = bytes(range(251)) * 10_000
    cloud = S3Bucket.connect(swift.settings)
    cloud.put("releases/targets/engine.onnx", data)
    found = download(
        cloud,
        "releases/targets/engine.onnx",
        sha256=hashlib.sha256(data).hexdigest(),
        length=len(data),
        folder=tmp_path / "parts",
        clock=WrongClock(datetime.now(UTC)),
    )
    assert found.read_bytes() == data


@pytest.mark.parametrize("begins", [datetime(1970, 1, 2, tzinfo=UTC), datetime(2099, 6, 1, tzinfo=UTC)])
def test_a_device_whose_clock_is_wrong_uploads(swift: Swift, tmp_path: Path, begins: datetime):
    bundle = enrolled(tmp_path / "device", swift.settings)
    with Client.from_config(bundle.config, clock=WrongClock(begins)) as client:
        client.predict(noise(1))
        assert client.flush(seconds=30)
        assert any(p.startswith("clock") for p in client.status()["problems"])


def test_a_bandwidth_limit_is_kept_over_tls(swift: Swift, tmp_path: Path):
    """At least the time that the bytes take at the limit, less one burst; how much longer is the machine's matter."""
    rest = "[upload]\nbytes_per_second = 100_000\n"
    bundle = enrolled(tmp_path / "device", swift.settings, rest)
    with Client.from_config(bundle.config) as client:
        for i in range(30):
            client.predict(noise(i, side=64))
        begun = time.monotonic()
        assert client.flush(seconds=60)
        seconds = time.monotonic() - begun
        sent = client.status()["capture"]["upload"]["bytes_sent"]
    assert sent > 150_000
    assert seconds >= sent / 100_000 - 0.5 - 16_384 / 100_000


def test_pace_does_not_disturb_what_is_well(swift: Swift):
    pace = Pace(stall_seconds=5, least_bytes_per_second=1000)
    bucket = S3Bucket.connect(swift.settings, attempts=1, pace=pace)
    bucket.put("inbox/line-1/9-9/0.tar", bytes(8_000_000))
    assert bucket.get("inbox/line-1/9-9/0.tar", max_bytes=8_000_000) == bytes(8_000_000)
