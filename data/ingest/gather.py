"""From a believed record to a window's content: its shards opened, its images on their way into the lake."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime

from data.decode import ImageChecker
from data.ingest.commit import WindowContent
from data.ingest.lake_batch import LakeBatch
from data.ingest.open_shard import BadMember, GoodEvents, GoodSample, open_shard
from data.ingest.plan import Rejected, WaitingWindow, still_arriving
from data.lake import Lake
from data.quarantine import Kind, Quarantined, copy_objects, keep_bytes
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import BadShard, BucketError, NotFound
from edge_client.contract.names import shard_key
from edge_client.contract.record import ShardEntry, WindowRecord


class Arriving(BucketError):
    """A shard that the record names is not there yet."""


class WrongSize(Exception):
    """A shard is not as long as its record says."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShardJob:
    """A shard to be fetched."""

    waiting: WaitingWindow
    key: str
    shard: ShardEntry


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Believed:
    """A window whose record is believed."""

    waiting: WaitingWindow
    record: WindowRecord
    digest: str
    shards: tuple[ShardJob, ...]


def believed(waiting: WaitingWindow, record: WindowRecord, digest: str) -> Believed:
    """Name the shards of a record."""
    name = (record.device, record.epoch, record.window)
    jobs = tuple(ShardJob(waiting=waiting, key=shard_key(*name, shard.n), shard=shard) for shard in record.shards)
    return Believed(waiting=waiting, record=record, digest=digest, shards=jobs)


def fetch_shard(bucket: Bucket, job: ShardJob) -> bytes | WrongSize | None:
    """A shard; None if it is not there, `WrongSize` if it has another length than the record names."""
    listed = {info.key: info.bytes for info in job.waiting.others}.get(job.key)
    if listed != job.shard.bytes:  # it may have come, or changed, since the inbox was listed
        info = bucket.head(job.key)
        if info is None:
            return None
        if info.bytes != job.shard.bytes:
            return WrongSize(
                f"{info.bytes} bytes, the signed record names {job.shard.bytes}: it was tampered with or damaged"
            )
    try:
        return bucket.get(job.key, max_bytes=job.shard.bytes)
    except NotFound:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """Opens windows.

    Attributes:
        storing: Takes what the lake is given; the window's content is whole when its batch was finished.
    """

    bucket: Bucket
    lake: Lake
    identity: str
    checker: ImageChecker
    clock: Callable[[], datetime]
    grace_seconds: float
    storing: Executor

    def gather(
        self, window: Believed, fetched: Callable[[ShardJob], bytes | WrongSize | None]
    ) -> tuple[WindowContent, LakeBatch] | None:
        """Open every shard; None if another run finished the window meanwhile.

        Raises:
            Rejected: no sample opens.
            Arriving: a shard may yet come (rule 9 of the package).
        """
        record, waiting = window.record, window.waiting
        content = WindowContent(record=record, record_key=waiting.record.key, record_sha256=window.digest)
        batch = LakeBatch(self.lake, content, self.storing)
        for job in window.shards:
            data = fetched(job)
            if isinstance(data, bytes):
                self._open(content, batch, job, data)
            elif data is not None:
                content.quarantined.append(self._bad_shard(record, job.key, f"shard {job.shard.n} has {data.args[0]}"))
            elif self.bucket.head(waiting.record.key) is None:
                return None
            elif still_arriving(waiting.record, self.clock(), self.grace_seconds):
                raise Arriving(f"shard {job.key} is not there yet; it is waited for")
            else:
                content.quarantined.append(
                    self._bad_shard(record, job.key, "the record lists it, the bucket does not have it")
                )
        batch.flush()
        if content.unopened and not batch.taken and not content.events:
            raise Rejected(
                f"none of its {content.unopened} samples opens with the cloud's identity: they are sealed to another "
                "key; if the identity was replaced, put the old one back and restore this window"
            )
        return content, batch

    def _open(self, content: WindowContent, batch: LakeBatch, job: ShardJob, data: bytes) -> None:
        content.uploaded_bytes += len(data)
        try:
            for item in open_shard(data, job.shard, content.record, self.identity, self.checker):
                if isinstance(item, GoodSample):
                    batch.add(item)
                elif isinstance(item, GoodEvents):
                    content.events.append(item)
                else:
                    content.unopened += not item.opened
                    content.quarantined.append(self._bad_member(content.record, job.key, item))
        except BadShard as error:
            content.quarantined.append(self._bad_shard(content.record, job.key, str(error)))

    def _bad_member(self, record: WindowRecord, key: str, bad: BadMember) -> Quarantined:
        moved_to = None if bad.sealed is None else keep_bytes(self.bucket, key, bad.entry.name, bad.sealed)
        return Quarantined(
            kind=Kind.SAMPLE,
            key=key,
            member=bad.entry.name,
            device=record.device,
            inspection=record.inspection,
            sample_id=bad.entry.sample_id,
            reason=bad.reason,
            moved_to=moved_to,
            bytes=len(bad.sealed or b""),
        )

    def _bad_shard(self, record: WindowRecord, key: str, reason: str) -> Quarantined:
        copied = copy_objects(self.bucket, [key])
        return Quarantined(
            kind=Kind.SHARD,
            key=key,
            device=record.device,
            inspection=record.inspection,
            reason=reason,
            moved_to=copied.targets[0] if copied.targets else None,
            bytes=copied.bytes,
        )
