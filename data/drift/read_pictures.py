"""Captured samples of windows, read from the catalog and the lake as :class:`~data.drift.pictures.Pictures`."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog.models import SampleRow, WindowRow
from data.drift.pictures import Pictures, least_chance
from data.drift.quality import GRID, MEASURES, Quality, measure_file
from data.lake import Lake
from data.sample_conditions import kept

_log = logging.getLogger("andon.drift")
_BATCH = 400  # windows in one query: SQLite's limit on parameters


def day_of(at: datetime) -> int:
    """Number of the UTC day."""
    return at.toordinal()


def counted_samples(session: Session, windows: Sequence[WindowRow]) -> dict[tuple[int, int], list[SampleRow]]:
    """The probability sample of some windows of one device, by (epoch, window), in the order of capture."""
    found: dict[tuple[int, int], list[SampleRow]] = defaultdict(list)
    by_epoch: dict[int, list[WindowRow]] = defaultdict(list)
    for window in windows:
        by_epoch[window.epoch].append(window)
    for epoch, rows in by_epoch.items():
        for start in range(0, len(rows), _BATCH):
            numbers = [row.window for row in rows[start : start + _BATCH]]
            query = (
                select(SampleRow)
                .where(SampleRow.device == rows[0].device, SampleRow.epoch == epoch, SampleRow.window.in_(numbers))
                .where(SampleRow.counted, kept())
                .order_by(SampleRow.captured_at, SampleRow.sequence)
            )
            for sample in session.scalars(query):
                found[epoch, int(sample.window or 0)].append(sample)
    return found


def read_pictures(
    lake: Lake, windows: Sequence[WindowRow], samples: dict[tuple[int, int], list[SampleRow]], *, width: int | None
) -> Pictures | None:
    """Measure the samples of windows.

    Args:
        lake: Where their images and embeddings are.
        windows: In time order.
        samples: Of :func:`counted_samples`.
        width: Of the reference's embeddings; samples with another are left out. None takes the first one's.

    Returns:
        None if nothing can be read. A sample without an embedding, or whose image cannot be decoded, is left out.

    Raises:
        LakeError, BucketError: The lake is damaged or away.
    """
    days: list[int] = []
    chances: list[float] = []
    floors: list[float] = []
    measured: list[Quality] = []
    embeddings: list[NDArray[np.float16]] = []
    for window in windows:
        rows = samples.get((window.epoch, window.window), [])
        if not rows:
            continue
        floor = _floor(window, rows)
        for row in rows:
            stored = lake.stored(row.lake_path, row.lake_row)
            embedding = stored.embedding
            if embedding is None or (width is not None and embedding.size != width):
                continue
            try:
                quality = measure_file(stored.image)
            except OSError as error:
                _log.warning("sample %s is left out: its image cannot be decoded (%s)", row.sample_id, error)
                continue
            width = embedding.size
            days.append(day_of(window.opened_at))
            chances.append(row.p1 or 1.0)
            floors.append(floor)
            measured.append(quality)
            embeddings.append(embedding)
    if not days:
        return None
    return Pictures(
        day=np.array(days, dtype=np.int64),
        p=np.array(chances),
        least=np.array(floors),
        quality=np.array([each.values for each in measured]).reshape(-1, len(MEASURES)),
        spots=np.array([each.spots for each in measured]).reshape(-1, GRID * GRID),
        embeddings=np.array(embeddings, dtype=np.float32),
    )


def _floor(window: WindowRow, rows: Sequence[SampleRow]) -> float:
    audit = [float(row.reasons["audit"]) if "audit" in row.reasons else None for row in rows]
    return least_chance(
        [row.p1 or 1.0 for row in rows], [row.weight or 0.0 for row in rows], audit, float(window.threshold)
    )
