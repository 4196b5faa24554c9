"""Filling lake files of one window within bounded memory.

The cut depends on the samples and their order alone, so that a repeated run writes the same files.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from data.ingest.commit import StoredSample, WindowContent
from data.ingest.open_shard import GoodSample
from data.lake import FILE_BYTES, FILE_ROWS, Lake, LakeRow

_NOTHING = np.zeros(0, dtype=np.float16)


class LakeBatch:
    """Collects samples and appends them to the lake; their locations go into the window's content."""

    def __init__(self, lake: Lake, content: WindowContent) -> None:
        self._lake = lake
        self._content = content
        self._waiting: list[GoodSample] = []
        self._bytes = 0

    def add(self, good: GoodSample) -> None:
        """Take a sample; writes a file when one is full."""
        size = len(good.blob.image)
        if self._waiting and (len(self._waiting) >= FILE_ROWS or self._bytes + size > FILE_BYTES):
            self.flush()
        self._waiting.append(good)
        self._bytes += size

    def flush(self) -> None:
        """Write what waits."""
        record = self._content.record
        rows = [
            LakeRow(
                sample_id=good.entry.sample_id,
                image=good.blob.image,
                media_type=good.blob.media_type,
                embedding=good.blob.embedding,
                anomaly_map=good.blob.anomaly_map,
            )
            for good in self._waiting
        ]
        locations = self._lake.append(record.inspection, record.closed_at.date(), rows)
        self._content.samples += [
            StoredSample(
                good=_without_arrays(good),
                location=location,
                image_sha256=hashlib.sha256(good.blob.image).hexdigest(),
                image_bytes=len(good.blob.image),
            )
            for good, location in zip(self._waiting, locations, strict=True)
        ]
        self._waiting, self._bytes = [], 0


def _without_arrays(good: GoodSample) -> GoodSample:
    blob = replace(good.blob, image=b"", embedding=_NOTHING, anomaly_map=_NOTHING)
    return replace(good, blob=blob)
