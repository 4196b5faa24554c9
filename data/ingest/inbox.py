"""The door of ingest: the inbox is listed, its windows are shared out to workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from data.catalog import Catalog
from data.decode import ImageChecker
from data.ingest.plan import WaitingWindow, list_inbox
from data.ingest.report import Course, IngestProgress, IngestReport, summed
from data.ingest.worker import Means, Worker
from data.lake import Lake
from data.policy import QuotaPolicy, SplitPolicy
from edge_client.contract.bucket import Bucket

__all__ = ["IngestProgress", "IngestReport", "ingest_inbox", "utc_now"]


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
    means = Means(
        catalog=catalog,
        bucket=bucket,
        lake=lake,
        identity=identity,
        clock=clock,
        split=split or SplitPolicy(),
        quota=quota,
        grace_seconds=missing_grace_seconds,
    )
    course = Course(total=len(windows), progress=progress)

    def work(mine: Sequence[WaitingWindow], name: str) -> IngestReport:
        if checker is not None:
            return Worker(means, checker, course).take(mine, name=name)
        with ImageChecker() as own:
            return Worker(means, own, course).take(mine, name=name)

    shares = [share for share in _shared_out(windows, workers) if share]
    whole = IngestReport(unfinished=listing.unfinished)
    if len(shares) == 1:
        return summed([whole, work(shares[0], "ingest-0")])
    names = [f"ingest-{number}" for number in range(len(shares))]
    with ThreadPoolExecutor(max_workers=max(1, len(shares)), thread_name_prefix="ingest") as pool:
        return summed([whole, *pool.map(work, shares, names)])


def _shared_out(windows: Sequence[WaitingWindow], workers: int) -> list[list[WaitingWindow]]:
    """Rule 12: by device, and so that the worker with least to do gets the next device."""
    by_device: dict[str, list[WaitingWindow]] = {}
    for waiting in windows:
        by_device.setdefault(waiting.device or "", []).append(waiting)
    shares: list[list[WaitingWindow]] = [[] for _ in range(workers)]
    for name in sorted(by_device, key=lambda name: (-len(by_device[name]), name)):
        min(shares, key=len).extend(by_device[name])
    return shares
