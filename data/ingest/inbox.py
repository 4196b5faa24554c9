"""The shell of ingest: fetch, open, store, commit, delete. Its rules are in the package's docstring."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy.exc import IntegrityError, OperationalError

from data.catalog import Catalog
from data.decode import DecoderUnavailable, ImageChecker
from data.devices import Device, DeviceError, get_device
from data.ingest.commit import Committed, WindowContent, commit_window, conflict, digest_of, known_window
from data.ingest.lake_batch import LakeBatch
from data.ingest.open_shard import BadMember, GoodEvents, GoodSample, open_shard
from data.ingest.plan import Rejected, WaitingWindow, believe, list_inbox, still_arriving
from data.lake import Lake
from data.policy import QuotaPolicy, SplitPolicy
from data.quarantine import Kind, Quarantined, copy_objects, keep_bytes, quarantined_window, record_quarantined
from data.quotas import Usage, usage_of
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import BadShard, BucketError, NotFound
from edge_client.contract.names import shard_key
from edge_client.contract.record import ShardEntry, WindowRecord
from edge_client.contract.signing import MAX_ENVELOPE_BYTES

_LOG = logging.getLogger(__name__)
_STOP_AFTER = 3  # rule 8


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestProgress:
    """Where a run is: told after each window."""

    done: int
    total: int
    samples: int
    key: str


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """What one run did.

    Attributes:
        windows: newly in the catalog, with their `samples`, `events` and `frames`.
        duplicates: windows that the catalog had already; what was left of them in the inbox was deleted.
        missing: samples that a manifest promised and that did not arrive or were quarantined.
        quarantined: (inbox key, reason) of windows, shards and samples.
        deferred: (record key, reason) of windows that stay in the inbox for the next run.
        unfinished: windows whose record is not up yet.
        bytes: of the shards ingested, as uploaded.
        stopped: why the run ended early, or None.
        over_quota: device -> which bound it reached; its further windows stay in the inbox until tomorrow.
    """

    windows: int = 0
    samples: int = 0
    events: int = 0
    frames: int = 0
    duplicates: int = 0
    missing: int = 0
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    deferred: list[tuple[str, str]] = field(default_factory=list)
    unfinished: int = 0
    bytes: int = 0
    samples_by_inspection: dict[str, int] = field(default_factory=dict)
    stopped: str | None = None
    over_quota: dict[str, str] = field(default_factory=dict)


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


def ingest_inbox(
    catalog: Catalog,
    bucket: Bucket,
    lake: Lake,
    identity: str,
    clock: Callable[[], datetime] = utc_now,
    *,
    split: SplitPolicy | None = None,
    quota: QuotaPolicy | None = None,
    checker: ImageChecker | None = None,
    progress: Callable[[IngestProgress], None] | None = None,
    most_windows: int | None = None,
    missing_grace_seconds: float = 900.0,
    workers: int = 1,
) -> IngestReport:
    """Take over every window that waits in the inbox.

    Args:
        catalog: the catalog.
        bucket: the bucket, with rights on `inbox/` and `lake/`.
        lake: the lake in the same bucket.
        identity: the age identity that devices seal to.
        clock: aware time of the cloud.
        split: salt and shares of the group split.
        quota: what is taken over of one device a day; None for no bound.
        checker: decoder to share; by default each worker makes and ends its own.
        progress: called after each window, by one worker at a time.
        most_windows: stop after so many.
        missing_grace_seconds: rule 9.
        workers: how many windows are taken at once (rule 12).

    Raises:
        BucketError: the inbox cannot be listed.
        ValueError: `workers` is below 1.
    """
    if workers < 1:
        raise ValueError(f"{workers} workers; expected at least 1")
    listing = list_inbox(bucket)
    windows = listing.windows if most_windows is None else listing.windows[:most_windows]
    course = _Course(total=len(windows), progress=progress)

    def work(mine: Sequence[WaitingWindow]) -> IngestReport:
        own = checker or ImageChecker()
        report = IngestReport()
        run = _Run(
            catalog,
            bucket,
            lake,
            identity,
            clock,
            split or SplitPolicy(),
            own,
            missing_grace_seconds,
            report,
            quota,
            {},
        )
        try:
            _take_all(run, mine, course)
        finally:
            if checker is None:
                own.close()
        return report

    shares = [share for share in _shared_out(windows, workers) if share]
    whole = IngestReport(unfinished=listing.unfinished)
    if len(shares) == 1:
        return _sum([whole, work(shares[0])])
    with ThreadPoolExecutor(max_workers=max(1, len(shares)), thread_name_prefix="ingest") as pool:
        return _sum([whole, *pool.map(work, shares)])


def _shared_out(windows: Sequence[WaitingWindow], workers: int) -> list[list[WaitingWindow]]:
    """Rule 12: by device, and so that the worker with least to do gets the next device."""
    by_device: dict[str, list[WaitingWindow]] = {}
    for waiting in windows:
        by_device.setdefault(waiting.device or "", []).append(waiting)
    shares: list[list[WaitingWindow]] = [[] for _ in range(workers)]
    for name in sorted(by_device, key=lambda name: (-len(by_device[name]), name)):
        min(shares, key=len).extend(by_device[name])
    return shares


def _take_all(run: _Run, windows: Sequence[WaitingWindow], course: _Course) -> None:
    report, in_a_row, reason = run.report, 0, ""
    for waiting in windows:
        if course.stopped.is_set():
            return
        try:
            run.take(waiting)
            in_a_row = 0
        except _OverQuota as error:  # the next window may be another device's
            report.over_quota[waiting.device or ""] = str(error)
            report.deferred.append((waiting.record.key, f"{waiting.device} is over its quota: {error}"))
        except Exception as error:  # noqa: BLE001 - rule 8: recorded, left in the inbox, and on to the next
            reason = f"{type(error).__name__}: {error}"
            outside = _environmental(error)
            _LOG.warning("window %s is deferred: %s", waiting.record.key, reason, exc_info=not outside)
            report.deferred.append((waiting.record.key, reason[:2000]))
            in_a_row += outside
        course.told(report, waiting.record.key)
        if in_a_row >= _STOP_AFTER:
            report.stopped = f"{in_a_row} windows in a row were deferred, the last because of {reason}"
            course.stopped.set()  # what stops one worker stops the others too
            return


def _sum(reports: Sequence[IngestReport]) -> IngestReport:
    """What all workers did."""
    whole = IngestReport()
    for report in reports:
        for name in ("windows", "samples", "events", "frames", "duplicates", "missing", "unfinished", "bytes"):
            setattr(whole, name, getattr(whole, name) + getattr(report, name))
        whole.quarantined += report.quarantined
        whole.deferred += report.deferred
        whole.over_quota |= report.over_quota
        whole.stopped = whole.stopped or report.stopped
        for inspection, samples in report.samples_by_inspection.items():
            whole.samples_by_inspection[inspection] = whole.samples_by_inspection.get(inspection, 0) + samples
    return whole


class _Course:
    """How far all workers are."""

    def __init__(self, *, total: int, progress: Callable[[IngestProgress], None] | None) -> None:
        self.stopped = threading.Event()
        self._total, self._progress = total, progress
        self._lock = threading.Lock()
        self._done = 0
        self._samples: dict[int, int] = {}

    def told(self, report: IngestReport, key: str) -> None:
        """One window more is behind a worker."""
        with self._lock:
            self._done += 1
            self._samples[id(report)] = report.samples
            if self._progress is not None:
                samples = sum(self._samples.values())
                self._progress(IngestProgress(done=self._done, total=self._total, samples=samples, key=key))


class _Arriving(BucketError):
    """A shard that the record names is not there yet."""


class _OverQuota(Exception):
    """The device has sent what may be taken over of it today."""


class _WrongSize(Exception):
    """A shard is not as long as its record says."""


def _environmental(error: Exception) -> bool:
    """Whether the next window would fail for the same reason."""
    outside = (BucketError, OSError, OperationalError, DecoderUnavailable, MemoryError)
    return isinstance(error, outside) and not isinstance(error, _Arriving)


@dataclass(frozen=True, slots=True)
class _Run:
    catalog: Catalog
    bucket: Bucket
    lake: Lake
    identity: str
    clock: Callable[[], datetime]
    split: SplitPolicy
    checker: ImageChecker
    grace_seconds: float
    report: IngestReport
    quota: QuotaPolicy | None
    used: dict[str, Usage]

    def take(self, waiting: WaitingWindow) -> None:
        """One window, from its record to its deletion from the inbox."""
        key = waiting.record.key
        if waiting.record.bytes > MAX_ENVELOPE_BYTES:
            return self._set_aside(
                waiting, f"the record has {waiting.record.bytes} bytes, at most {MAX_ENVELOPE_BYTES}"
            )
        try:
            document = self.bucket.get(key, max_bytes=MAX_ENVELOPE_BYTES)
        except NotFound:
            return None  # another run finished this window since the listing
        digest = digest_of(document)
        known = known_window(self.catalog, waiting.name) if waiting.name else None
        if known == digest:  # the very document that was believed before
            self.report.duplicates += 1
            return self._clear(waiting, WindowRecord.from_payload(json.loads(document)["payload"]))
        if quarantined_window(self.catalog, key):
            return self._set_aside(waiting, None)
        try:
            if known is not None:
                raise conflict(known, digest)
            record = believe(document, waiting, self._device(waiting.device))
            self._check_quota(record.device)
            content = self._gather(waiting, record, digest)
            if content is None:
                return None
            committed = self._commit(content)
            if record.device in self.used:
                self.used[record.device] = self.used[record.device].plus(content.uploaded_bytes)
        except Rejected as error:
            return self._set_aside(waiting, str(error))
        self._count(content, committed)
        return self._clear(waiting, record)

    def _check_quota(self, device: str) -> None:
        if self.quota is None:
            return
        if device not in self.used:
            self.used[device] = usage_of(self.catalog, device, self.clock())
        if reason := self.used[device].over(self.quota):
            raise _OverQuota(reason)

    def _device(self, name: str | None) -> Device | None:
        try:
            return get_device(self.catalog, name) if name else None
        except DeviceError:
            return None

    def _gather(self, waiting: WaitingWindow, record: WindowRecord, digest: str) -> WindowContent | None:
        """Open every shard and store its images; None if another run finished the window meanwhile."""
        content = WindowContent(record=record, record_key=waiting.record.key, record_sha256=digest)
        batch = LakeBatch(self.lake, content)
        for shard in record.shards:
            key = shard_key(record.device, record.epoch, record.window, shard.n)
            data = self._fetch(key, shard)
            if isinstance(data, bytes):
                self._open(content, batch, key, shard, data)
            elif data is not None:
                content.quarantined.append(self._bad_shard(record, key, f"shard {shard.n} has {data.args[0]}"))
            elif self.bucket.head(waiting.record.key) is None:
                return None
            elif still_arriving(waiting.record, self.clock(), self.grace_seconds):
                raise _Arriving(f"shard {key} is not there yet; it is waited for")
            else:
                content.quarantined.append(
                    self._bad_shard(record, key, "the record lists it, the bucket does not have it")
                )
        batch.flush()
        if content.unopened and not content.samples and not content.events:
            raise Rejected(
                f"none of its {content.unopened} samples opens with the cloud's identity: they are sealed to another "
                "key; if the identity was replaced, put the old one back and restore this window"
            )
        return content

    def _fetch(self, key: str, shard: ShardEntry) -> bytes | _WrongSize | None:
        info = self.bucket.head(key)
        if info is None:
            return None
        if info.bytes != shard.bytes:
            return _WrongSize(
                f"{info.bytes} bytes, the signed record names {shard.bytes}: it was tampered with or damaged"
            )
        try:
            return self.bucket.get(key, max_bytes=shard.bytes)
        except NotFound:
            return None

    def _open(self, content: WindowContent, batch: LakeBatch, key: str, shard: ShardEntry, data: bytes) -> None:
        content.uploaded_bytes += len(data)
        try:
            for item in open_shard(data, shard, content.record, self.identity, self.checker):
                if isinstance(item, GoodSample):
                    batch.add(item)
                elif isinstance(item, GoodEvents):
                    content.events.append(item)
                else:
                    content.unopened += not item.opened
                    content.quarantined.append(self._bad_member(content.record, key, item))
        except BadShard as error:
            content.quarantined.append(self._bad_shard(content.record, key, str(error)))

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

    def _commit(self, content: WindowContent) -> Committed:
        try:
            return commit_window(self.catalog, content, split=self.split, at=self.clock())
        except IntegrityError:  # two runs at once: the second attempt sees what the other one added
            return commit_window(self.catalog, content, split=self.split, at=self.clock())

    def _count(self, content: WindowContent, committed: Committed) -> None:
        report, record = self.report, content.record
        if not committed.new:
            report.duplicates += 1
            return
        report.windows += 1
        report.samples += committed.samples
        report.events += committed.events
        report.frames += record.frames
        report.missing += committed.missing
        report.bytes += content.uploaded_bytes
        by_inspection = report.samples_by_inspection
        by_inspection[record.inspection] = by_inspection.get(record.inspection, 0) + committed.samples
        report.quarantined += [
            (f"{item.key}/{item.member}" if item.member else item.key, item.reason) for item in committed.quarantined
        ]

    def _set_aside(self, waiting: WaitingWindow, reason: str | None) -> None:
        """Move a whole window into quarantine; without a reason, what turned up of one that is there already."""
        copied = copy_objects(self.bucket, [*waiting.others, waiting.record.key])
        if reason is not None:
            item = Quarantined(
                kind=Kind.WINDOW,
                key=waiting.record.key,
                device=waiting.device,
                reason=reason,
                moved_to=copied.targets[-1] if copied.targets else None,
                bytes=copied.bytes,
            )
            with self.catalog.session() as session:
                record_quarantined(session, item, at=self.clock())
            self.report.quarantined.append((waiting.record.key, reason))
        self._delete(copied.done, waiting.record.key)

    def _clear(self, waiting: WaitingWindow, record: WindowRecord) -> None:
        """Delete a window that the catalog has from the inbox. What its record does not name is kept aside."""
        named = [shard_key(record.device, record.epoch, record.window, shard.n) for shard in record.shards]
        strays = copy_objects(self.bucket, [key for key in waiting.others if key not in set(named)])
        self._delete([*named, *strays.done, waiting.record.key], waiting.record.key)

    def _delete(self, keys: Iterable[str], record_key: str) -> None:
        """The record last: as long as it is there, the next run finds what is left."""
        for key in sorted(keys, key=lambda key: key == record_key):
            self.bucket.delete(key)
