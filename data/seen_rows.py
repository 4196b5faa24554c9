"""What an estimate reads of windows and samples: some columns, and no more of a record than an array of numbers.

A line of a million samples has ten thousands of windows, each with a record of some kilobytes: what is parsed of one is
let go before the next thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog.models import SampleRow, WindowRow
from data.known_frames import KnownFrames

WindowKey = tuple[str, int, int]  # device, epoch, window


@dataclass(frozen=True, slots=True)
class SeenSample:
    """What an estimate reads of a captured sample."""

    sample_id: str
    device: str
    epoch: int
    window: int
    p1: float | None
    run_length: int | None
    verdict: str | None
    captured_at: datetime
    classes: Sequence[str]
    probabilities: Sequence[float]

    @property
    def inside(self) -> WindowKey:
        """Its window."""
        return self.device, self.epoch, self.window


@dataclass(frozen=True, slots=True)
class SeenWindow:
    """What an estimate reads of a window."""

    device: str
    epoch: int
    window: int
    station: str
    frames: int
    excluded: int
    manifest_inverse_p: float
    missing: int
    draw_id: str | None
    engine_ids: Sequence[str]
    opened_at: datetime
    known: KnownFrames

    @property
    def key(self) -> WindowKey:
        """Which window it is."""
        return self.device, self.epoch, self.window


_WINDOWS = 1000  # read at once: what is parsed of a record is let go before the next
_WINDOW_NAMES = tuple(name for name in SeenWindow.__slots__ if name != "known")
_WINDOW = tuple(getattr(WindowRow, name) for name in _WINDOW_NAMES)
SAMPLE_COLUMNS = tuple(getattr(SampleRow, name) for name in SeenSample.__slots__)


def seen_windows(session: Session, inspection: str, since: datetime | None, until: datetime | None) -> list[SeenWindow]:
    """An inspection's windows, opened from `since` on and before `until`, by device and number."""
    query = select(*_WINDOW, WindowRow.verdict_counts, WindowRow.histograms).where(WindowRow.inspection == inspection)
    if since is not None:
        query = query.where(WindowRow.opened_at >= since)
    if until is not None:
        query = query.where(WindowRow.opened_at < until)
    query = query.order_by(WindowRow.device, WindowRow.epoch, WindowRow.window)
    found: list[SeenWindow] = []
    for *row, verdict_counts, histograms in session.execute(query.execution_options(yield_per=_WINDOWS)):
        seen = dict(zip(_WINDOW_NAMES, row, strict=True))
        known = KnownFrames(
            frames=seen["frames"], excluded=seen["excluded"], verdict_counts=verdict_counts, histograms=histograms
        )
        found.append(SeenWindow(**seen, known=known))
    return found
