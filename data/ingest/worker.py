"""One worker of ingest: windows in groups, fetched ahead, committed together (rules 4–8, 12 and 13 of the package)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError, OperationalError

from data.catalog import Catalog
from data.decode import DecoderUnavailable, ImageChecker
from data.ingest.commit import Committed, WindowContent, commit_windows, conflict, digest_of
from data.ingest.fetch_ahead import FetchAhead
from data.ingest.gather import Arriving, Believed, Gathering, ShardJob, WrongSize, believed, fetch_shard
from data.ingest.lake_batch import LakeBatch
from data.ingest.look_up import Known, look_up
from data.ingest.plan import Rejected, WaitingWindow, believe
from data.ingest.report import Course, IngestReport
from data.lake import Lake
from data.policy import QuotaPolicy, SplitPolicy
from data.quarantine import Kind, Quarantined, copy_objects, record_quarantined
from data.quotas import Usage, usage_of
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import BucketError, NotFound
from edge_client.contract.names import shard_key
from edge_client.contract.record import WindowRecord
from edge_client.contract.signing import MAX_ENVELOPE_BYTES

_LOG = logging.getLogger(__name__)
_STOP_AFTER = 3  # rule 8
_GROUP_WINDOWS = 16  # of a commit: its sync and its questions are shared by so many
_GROUP_SAMPLES = 1_000  # and is early, so that the write lock is held for well under a second
_AHEAD_BYTES = 16 << 20  # fetched before they are asked for
_UNSTORED_WINDOWS = 4  # gathered, and not yet in the lake: a store answers late, and takes many at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every worker works with; see `ingest_inbox`."""

    catalog: Catalog
    bucket: Bucket
    lake: Lake
    identity: str
    clock: Callable[[], datetime]
    split: SplitPolicy
    quota: QuotaPolicy | None
    grace_seconds: float


class _OverQuota(Exception):
    """The device has sent what may be taken over of it today."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Gathered:
    """A window that is opened; its images are on their way into the lake."""

    window: Believed
    content: WindowContent
    batch: LakeBatch


class Worker:
    """Takes windows one after another.

    Args:
        means: What it works with.
        checker: Its decoder.
        course: Where all workers are.
    """

    def __init__(self, means: Means, checker: ImageChecker, course: Course) -> None:
        self._means, self._checker, self._course = means, checker, course
        self._report = IngestReport()
        self._used: dict[str, Usage] = {}
        self._unread = self._unstored = 0  # in a row, for a reason outside of the windows
        self._clearing: list[tuple[str, Future[None]]] = []

    def take(self, windows: Sequence[WaitingWindow], *, name: str) -> IngestReport:
        """Take windows over, from their records to their deletion from the inbox."""
        groups = [windows[start : start + _GROUP_WINDOWS] for start in range(0, len(windows), _GROUP_WINDOWS)]
        with (
            ThreadPoolExecutor(1, f"{name}-fetch") as fetching,
            ThreadPoolExecutor(_UNSTORED_WINDOWS, f"{name}-store") as storing,
        ):
            gathering = self._gathering(storing)
            documents = self._documents(fetching, groups[0] if groups else ())
            for number, group in enumerate(groups):
                fetched, documents = documents, []
                gathered = self._gathered(group, fetched, gathering, fetching)
                if number + 1 < len(groups) and not self._course.stopped.is_set():
                    documents = self._documents(fetching, groups[number + 1])
                self._settle(gathered, storing)
                if self._course.stopped.is_set():
                    break
            for future in documents:
                future.cancel()
            self._cleared()
        return self._report

    def _gathering(self, storing: Executor) -> Gathering:
        means = self._means
        return Gathering(
            bucket=means.bucket,
            lake=means.lake,
            identity=means.identity,
            checker=self._checker,
            clock=means.clock,
            grace_seconds=means.grace_seconds,
            storing=storing,
        )

    def _documents(self, fetching: Executor, group: Sequence[WaitingWindow]) -> list[Future[bytes | None]]:
        return [fetching.submit(self._document, waiting) for waiting in group]

    def _document(self, waiting: WaitingWindow) -> bytes | None:
        """The record; None if another run finished this window since the listing. One too long is not fetched."""
        if waiting.record.bytes > MAX_ENVELOPE_BYTES:
            return b""
        try:
            return self._means.bucket.get(waiting.record.key, max_bytes=MAX_ENVELOPE_BYTES)
        except NotFound:
            return None

    def _gathered(
        self,
        group: Sequence[WaitingWindow],
        documents: Sequence[Future[bytes | None]],
        gathering: Gathering,
        fetching: Executor,
    ) -> list[_Gathered]:
        """Decide on each window of a group, and open those that are believed."""
        means = self._means
        windows = self._believed(group, documents)
        jobs = [(job, job.shard.bytes) for window in windows for job in window.shards]
        ahead: FetchAhead[ShardJob, bytes | WrongSize | None] = FetchAhead(
            fetching, lambda job: fetch_shard(means.bucket, job), jobs, most_bytes=_AHEAD_BYTES
        )
        found: list[_Gathered] = []
        for window in windows:
            if self._course.stopped.is_set():
                break
            try:
                opened = gathering.gather(window, ahead.result)
                self._unread = 0
                if opened is None:
                    self._told(window.waiting)
                    continue
                found.append(_Gathered(window=window, content=opened[0], batch=opened[1]))
                if len(found) > _UNSTORED_WINDOWS:
                    found[-1 - _UNSTORED_WINDOWS].batch.wait()
                if sum(each.batch.taken for each in found) >= _GROUP_SAMPLES:
                    self._settle(found, gathering.storing)
                    found = []
            except Exception as error:  # noqa: BLE001 - a worker's boundary: on to the next window (rule 8)
                self._unread = self._failed(window.waiting, error, self._unread)
        ahead.stop()
        return found

    def _believed(self, group: Sequence[WaitingWindow], documents: Sequence[Future[bytes | None]]) -> list[Believed]:
        found: list[Believed] = []
        known: Known | None = None
        for waiting, document in zip(group, documents, strict=True):
            if self._course.stopped.is_set():
                break
            try:
                known = known or look_up(self._means.catalog, group)
                window = self._decide(waiting, document.result(), known)
            except Exception as error:  # noqa: BLE001 - as above
                self._unread = self._failed(waiting, error, self._unread)
                continue
            if window is None:
                self._unread = 0
                self._told(waiting)
            else:
                found.append(window)
        return found

    def _decide(self, waiting: WaitingWindow, document: bytes | None, known: Known) -> Believed | None:
        """The window, if its record is believed; what is known or is not acceptable is done with here."""
        key = waiting.record.key
        if waiting.record.bytes > MAX_ENVELOPE_BYTES:
            self._set_aside(waiting, f"the record has {waiting.record.bytes} bytes, at most {MAX_ENVELOPE_BYTES}")
            return None
        if document is None:
            return None
        digest = digest_of(document)
        before = known.records.get(waiting.name) if waiting.name else None
        if before == digest:  # the very document that was believed before
            self._report.duplicates += 1
            self._clear(waiting, WindowRecord.from_payload(json.loads(document)["payload"]))
            return None
        if key in known.quarantined:
            self._set_aside(waiting, None)
            return None
        try:
            if before is not None:
                raise conflict(before, digest)
            record = believe(document, waiting, known.devices.get(waiting.device or ""))
        except Rejected as error:
            self._set_aside(waiting, str(error))
            return None
        self._charge(record)
        return believed(waiting, record, digest)

    def _charge(self, record: WindowRecord) -> None:
        """Count a window on its device's quota by what its record promises; what is over waits (rule 10)."""
        quota = self._means.quota
        if quota is None:
            return
        if record.device not in self._used:
            self._used[record.device] = usage_of(self._means.catalog, record.device, self._means.clock())
        if reason := self._used[record.device].over(quota):
            raise _OverQuota(reason)
        self._used[record.device] = self._used[record.device].plus(sum(shard.bytes for shard in record.shards))

    def _settle(self, gathered: Sequence[_Gathered], storing: Executor) -> None:
        """Commit windows together, then have them deleted from the inbox."""
        ready: list[_Gathered] = []
        for each in gathered:
            try:
                each.batch.finish()
                ready.append(each)
            except Exception as error:  # noqa: BLE001 - as above
                self._unstored = self._failed(each.window.waiting, error, self._unstored)
        self._cleared()
        for each, committed in zip(ready, self._committed(ready), strict=True):
            waiting = each.window.waiting
            if committed is None:
                continue
            self._unstored = 0
            self._count(each.content, committed)
            self._clearing.append((waiting.record.key, storing.submit(self._clear, waiting, each.content.record)))
            self._told(waiting)

    def _committed(self, ready: Sequence[_Gathered]) -> list[Committed | None]:
        """What each commit added; None for a window that was set aside or deferred."""
        if not ready:
            return []
        try:
            return [*self._commit(ready)]
        except Exception as error:  # noqa: BLE001 - one window of them is the cause, or what is outside of all
            if _environmental(error):
                for each in ready:
                    self._unstored = self._failed(each.window.waiting, error, self._unstored)
                return [None for _ in ready]
        return [self._committed_alone(each) for each in ready]

    def _committed_alone(self, each: _Gathered) -> Committed | None:
        try:
            try:
                (committed,) = self._commit([each])
            except IntegrityError:  # two runs at once: the second attempt sees what the other one added
                (committed,) = self._commit([each])
        except Rejected as error:
            try:
                self._set_aside(each.window.waiting, str(error))
                self._told(each.window.waiting)
            except Exception as failure:  # noqa: BLE001 - as above
                self._unstored = self._failed(each.window.waiting, failure, self._unstored)
            return None
        except Exception as error:  # noqa: BLE001 - as above
            self._unstored = self._failed(each.window.waiting, error, self._unstored)
            return None
        return committed

    def _commit(self, ready: Sequence[_Gathered]) -> list[Committed]:
        means = self._means
        return commit_windows(means.catalog, [each.content for each in ready], split=means.split, at=means.clock())

    def _count(self, content: WindowContent, committed: Committed) -> None:
        report, record = self._report, content.record
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

    def _failed(self, waiting: WaitingWindow, error: Exception, in_a_row: int) -> int:
        """Note why a window stays in the inbox, or set it aside; how many in a row now stay for a reason outside."""
        key, report = waiting.record.key, self._report
        if isinstance(error, Rejected):
            try:
                self._set_aside(waiting, str(error))
            except Exception as failure:  # noqa: BLE001 - as above
                return self._failed(waiting, failure, in_a_row)
            self._told(waiting)
            return 0
        if isinstance(error, _OverQuota):  # the next window may be another device's
            report.over_quota[waiting.device or ""] = str(error)
            report.deferred.append((key, f"{waiting.device} is over its quota: {error}"))
        else:
            reason, outside = f"{type(error).__name__}: {error}", _environmental(error)
            _LOG.warning("window %s is deferred: %s", key, reason, exc_info=None if outside else error)
            report.deferred.append((key, reason[:2000]))
            in_a_row += outside
            if in_a_row >= _STOP_AFTER:
                report.stopped = f"{in_a_row} windows in a row were deferred, the last because of {reason}"
                self._course.stopped.set()  # what stops one worker stops the others too
        self._told(waiting)
        return in_a_row

    def _told(self, waiting: WaitingWindow) -> None:
        self._course.told(self._report, waiting.record.key)

    def _set_aside(self, waiting: WaitingWindow, reason: str | None) -> None:
        """Move a whole window into quarantine; without a reason, what turned up of one that is there already."""
        means, key = self._means, waiting.record.key
        copied = copy_objects(means.bucket, [*(info.key for info in waiting.others), key])
        if reason is not None:
            item = Quarantined(
                kind=Kind.WINDOW,
                key=key,
                device=waiting.device,
                reason=reason,
                moved_to=copied.targets[-1] if copied.targets else None,
                bytes=copied.bytes,
            )
            with means.catalog.session() as session:
                record_quarantined(session, item, at=means.clock())
            self._report.quarantined.append((key, reason))
        self._delete(copied.done, key)

    def _clear(self, waiting: WaitingWindow, record: WindowRecord) -> None:
        """Delete a window that the catalog has from the inbox. What its record does not name is kept aside."""
        named = [shard_key(record.device, record.epoch, record.window, shard.n) for shard in record.shards]
        strange = {info.key for info in waiting.others} - set(named)
        strays = copy_objects(self._means.bucket, sorted(strange))
        self._delete([*named, *strays.done, waiting.record.key], waiting.record.key)

    def _cleared(self) -> None:
        """Wait for the deletions so far; a window whose deletion failed is cleared by the next run."""
        clearing, self._clearing = self._clearing, []
        for key, future in clearing:
            try:
                future.result()
            except Exception as error:  # noqa: BLE001 - as above
                _LOG.warning("window %s is taken over, but not deleted: %s", key, error)
                self._report.deferred.append((key, f"taken over, but not deleted: {type(error).__name__}: {error}"))

    def _delete(self, keys: Iterable[str], record_key: str) -> None:
        """The record last: as long as it is there, the next run finds what is left."""
        for key in sorted(keys, key=lambda key: key == record_key):
            self._means.bucket.delete(key)


def _environmental(error: Exception) -> bool:
    """Whether the next window would fail for the same reason."""
    outside = (BucketError, OSError, OperationalError, DecoderUnavailable, MemoryError)
    return isinstance(error, outside) and not isinstance(error, Arriving)
