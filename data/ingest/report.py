"""What a run of ingest tells: where it is, and what it did."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


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


def summed(reports: Sequence[IngestReport]) -> IngestReport:
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


class Course:
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
