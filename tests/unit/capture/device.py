"""A device for tests: its folder as enrolment would write it, a clock that is driven, a bucket that fails on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from edge_client.contract.bucket import Bucket, DirectoryBucket, ObjectInfo
from edge_client.contract.names import shard_key
from edge_client.contract.record import WindowRecord
from edge_client.contract.sample import EventsBlob, SampleBlob, unpack_blob
from edge_client.contract.sealing import generate_identity, load_identity, unseal
from edge_client.contract.shard import read_shard
from edge_client.contract.signing import generate_private_key
from tests.tiny_engine import tiny_engine


class DrivenClock:
    """Time stands still until `pass_seconds`."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def pass_seconds(self, seconds: float) -> None:
        self.seconds += seconds

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


class TroubledBucket:
    """A real bucket behind a line that can be cut: `trouble` is raised after `good_calls` more calls.

    With `after_the_put` the object is stored and the answer is lost, as when a connection breaks in between.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.puts: list[tuple[str, str]] = []
        self.trouble: Exception | None = None
        self.good_calls = 0
        self.after_the_put = False

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        fails = self._fails()
        if not fails or self.after_the_put:
            self.bucket.put(key, data, content_type=content_type)
            self.puts.append((key, hashlib.sha256(data).hexdigest()))
        if fails and self.trouble is not None:
            raise self.trouble

    def get(self, key: str, *, max_bytes: int) -> bytes:
        return self.bucket.get(key, max_bytes=max_bytes)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self.bucket.get_range(key, start, length)

    def head(self, key: str) -> ObjectInfo | None:
        return self.bucket.head(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self.bucket.list(prefix)

    def delete(self, key: str) -> None:
        raise AssertionError("a device never deletes")

    def _fails(self) -> bool:
        if self.trouble is None:
            return False
        self.good_calls -= 1
        return self.good_calls < 0


class Bundle:
    """The folder of one enrolled device."""

    def __init__(
        self, folder: Path, *, bucket: str = 'directory = "bucket"', capture: str = "", rest: str = ""
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.recipient = generate_identity(folder / "recipient.age")
        self.identity = load_identity(folder / "recipient.age")
        self.public_key = generate_private_key(folder / "device.key")
        (folder / "factory.onnx").write_bytes(tiny_engine())
        self.config = folder / "andon.toml"
        self.config.write_text(
            f"""
[device]
name = "line-1"
site = "plant-a"
station = "aoi-3"
key = "device.key"

[inspection]
name = "solar-cells"
factory_engine = "factory.onnx"

[bucket]
{bucket}

[cloud]
recipient = "{self.recipient}"

[capture]
reserve_bytes = 0
{capture}
{rest}
"""
        )

    def records(self, bucket: Bucket | None = None) -> list[WindowRecord]:
        """All records in the bucket, verified, in order."""
        return records_in(bucket or DirectoryBucket(self.folder / "bucket"), self.public_key)

    def blobs(self, record: WindowRecord, bucket: Bucket | None = None) -> dict[str, SampleBlob | EventsBlob]:
        """All that a record lists, checked against it and opened."""
        sealed = sealed_of(record, bucket or DirectoryBucket(self.folder / "bucket"))
        return {sample_id: unpack_blob(unseal(data, self.identity)) for sample_id, data in sealed.items()}


def records_in(bucket: Bucket, public_key: str) -> list[WindowRecord]:
    """All records in a bucket, verified, in order."""
    return [
        WindowRecord.verify(bucket.get(o.key, max_bytes=1 << 26), public_key)
        for o in bucket.list("inbox/")
        if o.key.endswith("window.json")
    ]


def sealed_of(record: WindowRecord, bucket: Bucket) -> dict[str, bytes]:
    """Sample id → sealed blob, for all that a record lists and nothing else, checked against it."""
    found: dict[str, bytes] = {}
    for shard in record.shards:
        data = bucket.get(shard_key(record.device, record.epoch, record.window, shard.n), max_bytes=1 << 26)
        assert hashlib.sha256(data).hexdigest() == shard.sha256
        assert len(data) == shard.bytes
        members = read_shard(data)
        listed = {e.name: e for e in record.manifest if e.shard == shard.n}
        assert set(members) == set(listed)
        for name, sealed in members.items():
            assert hashlib.sha256(sealed).hexdigest() == listed[name].sha256
            assert len(sealed) == listed[name].bytes
            found[listed[name].sample_id] = sealed
    assert set(found) == {e.sample_id for e in record.manifest}
    return found


def noise(seed: int, side: int = 32) -> np.ndarray:
    """A frame that does not compress, of its own brightness."""
    random = np.random.default_rng(seed)
    return (random.integers(0, 128, (side, side, 3)) + int(random.integers(0, 128))).astype(np.uint8)
