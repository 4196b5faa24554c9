"""What taking over a sample is made of: each step of ingest alone, by the processor's time it takes.

Of a benchmark (`benchmarks.ingest`), on the same windows and the same server. A step is done as ingest does it, by the
same functions, with nothing beside it; so what a run takes above the sum of its steps is what doing them side by side
costs: threads, locks and processes that take turns.
"""

from __future__ import annotations

import hashlib
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.result import Row
from data.catalog import Catalog
from data.decode import ImageChecker
from data.ingest.commit import WindowContent, commit_windows
from data.ingest.gather import Gathering, ShardJob, believed
from data.ingest.plan import WaitingWindow
from data.lake import Lake, LakeRow
from data.policy import SplitPolicy
from edge_client.contract.bucket import Bucket, DirectoryBucket, ObjectInfo
from edge_client.contract.names import record_key
from edge_client.contract.record import WindowRecord
from edge_client.contract.sample import SampleBlob, unpack_blob
from edge_client.contract.sealing import unseal
from edge_client.contract.shard import read_shard
from edge_client.contract.signing import public_hex
from tests.unit.ingest.uploads import Upload, Uploader, set_up


def steps(bucket: Bucket, identity: str, device: Uploader, uploads: Sequence[Upload], repeats: int) -> list[Row]:
    """The processor's time of each step, in ms for a sample.

    Args:
        bucket: The store.
        identity: Opens the samples.
        device: Made the uploads.
        uploads: Windows of one shard each; nothing of them need be in the store.
        repeats: How often each step is measured.
    """
    samples = sum(len(upload.sample_ids) for upload in uploads)
    shards = [upload.shards[0] for upload in uploads]
    blobs = [blob for shard in shards for blob in _opened(shard, identity)]

    def of(name: str, do: Callable[[], object], *, among: int = samples) -> Row:
        return Row.of(f"step, {name}: cpu of a sample", "ms", [1000 * _cpu(do) / among for _ in range(repeats)])

    with tempfile.TemporaryDirectory(prefix="andon-steps-") as name:
        folder = Path(name)
        rows = [
            of("records: signatures", lambda: [_verified(upload, device) for upload in uploads]),
            of("reading and opening shards", lambda: [_opened(shard, identity) for shard in shards]),
            Row.of("step, decoding images: cpu of a sample", "ms", [_decoding(blobs) for _ in range(repeats)]),
            of("lake files: hashes and Parquet", _numbered(lambda i: _lake_file(folder, i, blobs))),
            of("requests to the store", _numbered(lambda i: _requests(bucket, i, uploads))),
        ]
        content = _contents(folder, identity, device, uploads)
        rows.append(of("catalog", _numbered(lambda i: _committed(folder / f"{i}.db", device, content))))
    return rows


def _opened(shard: bytes, identity: str) -> list[SampleBlob]:
    hashlib.sha256(shard).digest()
    found = []
    for sealed in read_shard(shard).values():
        hashlib.sha256(sealed).digest()
        blob = unpack_blob(unseal(sealed, identity))
        assert isinstance(blob, SampleBlob)
        found.append(blob)
    return found


def _verified(upload: Upload, device: Uploader) -> WindowRecord:
    return WindowRecord.verify(upload.document, public_hex(device.key))


def _decoding(blobs: Sequence[SampleBlob]) -> float:
    """Of this process and of the decoder, without starting one."""

    def taken(times: int) -> float:
        began, child = time.process_time(), _children()
        with ImageChecker() as checker:
            list(checker.check_many((blob.image, blob.media_type) for blob in [*blobs[:1], *list(blobs) * times]))
        return time.process_time() - began + _children() - child

    return 1000 * (taken(1) - taken(0)) / len(blobs)


def _lake_file(folder: Path, number: int, blobs: Sequence[SampleBlob]) -> None:
    lake = Lake(DirectoryBucket(folder / f"lake-{number}"), folder / "cache")
    for start in range(0, len(blobs), 25):
        lake.append("tiles", datetime.now(UTC).date(), [_row(blob) for blob in blobs[start : start + 25]])
        for blob in blobs[start : start + 25]:
            hashlib.sha256(blob.image).digest()


def _row(blob: SampleBlob) -> LakeRow:
    return LakeRow(
        sample_id=blob.sample_id,
        image=blob.image,
        media_type=blob.media_type,
        embedding=blob.embedding,
        anomaly_map=blob.anomaly_map,
    )


def _requests(bucket: Bucket, number: int, uploads: Sequence[Upload]) -> None:
    """What ingest asks of the store: a window's record and shard, whether its lake file is there, and to put it."""
    for i, upload in enumerate(uploads):
        record, shard, file = (f"steps/{number}/{i}/{name}" for name in ("window.json", "0.tar", "file.parquet"))
        with _left_out():
            bucket.put(record, upload.document)
            bucket.put(shard, upload.shards[0])
        bucket.get(record, max_bytes=len(upload.document))
        bucket.get(shard, max_bytes=len(upload.shards[0]))
        bucket.head(file)
        bucket.put(file, upload.shards[0])
        for key in (shard, record):
            bucket.delete(key)


def _contents(folder: Path, identity: str, device: Uploader, uploads: Sequence[Upload]) -> list[WindowContent]:
    bucket = DirectoryBucket(folder / "bucket")
    found = []
    with ImageChecker() as checker, ThreadPoolExecutor(1) as storing:
        gathering = Gathering(
            bucket=bucket, lake=Lake(bucket, folder / "cache"), identity=identity, checker=checker,
            clock=lambda: datetime.now(UTC), grace_seconds=0.0, storing=storing,
        )  # fmt: skip
        for upload in uploads:
            name = (upload.record.device, upload.record.epoch, upload.record.window)
            info = ObjectInfo(key=record_key(*name), bytes=len(upload.document), modified=None)
            window = believed(WaitingWindow(name=name, record=info, others=()), upload.record, "0" * 64)

            def fetched(job: ShardJob, upload: Upload = upload) -> bytes:
                return upload.shards[job.shard.n]

            gathered = gathering.gather(window, fetched)
            assert gathered is not None
            gathered[1].finish()
            found.append(gathered[0])
    return found


def _committed(path: Path, device: Uploader, contents: Sequence[WindowContent]) -> None:
    with _left_out():
        catalog = Catalog.open(f"sqlite:///{path}")
        set_up(catalog, device)
    for start in range(0, len(contents), 16):
        commit_windows(catalog, contents[start : start + 16], split=SplitPolicy(), at=datetime.now(UTC))
    catalog.close()


class _left_out:  # noqa: N801 - read like a statement
    """What is prepared in the middle of a step is not of it."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        _left_out.seconds += time.process_time() - self._began


def _cpu(do: Callable[[], object]) -> float:
    _left_out.seconds, began = 0.0, time.process_time()
    do()
    return time.process_time() - began - _left_out.seconds


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _numbered(do: Callable[[int], object]) -> Callable[[], object]:
    """Do a step under another number each time."""
    count = iter(range(1_000_000))
    return lambda: do(next(count))
