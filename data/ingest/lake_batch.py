"""Filling lake files of one window within bounded memory.

The cut depends on the samples and their order alone, so that a repeated run writes the same files. Files are made and
put by another thread; at most one waits there, so that two of them are in memory.
"""

from __future__ import annotations

import hashlib
from concurrent import futures
from concurrent.futures import Executor, Future
from dataclasses import replace

import numpy as np

from data.ingest.commit import StoredSample, WindowContent
from data.ingest.open_shard import GoodSample
from data.lake import FILE_BYTES, FILE_ROWS, Lake, LakeRow

_NOTHING = np.zeros(0, dtype=np.float16)


class LakeBatch:
    """Collects samples and appends them to the lake; `finish` puts them with their locations into the content.

    Args:
        lake: The lake.
        content: Of the window.
        storing: Makes and puts the files.
    """

    def __init__(self, lake: Lake, content: WindowContent, storing: Executor) -> None:
        self._lake = lake
        self._content = content
        self._storing = storing
        self._waiting: list[GoodSample] = []
        self._bytes = 0
        self._under_way: Future[list[StoredSample]] | None = None
        self.taken = 0

    def add(self, good: GoodSample) -> None:
        """Take a sample; writes a file when one is full."""
        size = len(good.blob.image)
        if self._waiting and (len(self._waiting) >= FILE_ROWS or self._bytes + size > FILE_BYTES):
            self.flush()
        self._waiting.append(good)
        self._bytes += size
        self.taken += 1

    def flush(self) -> None:
        """Have what waits written."""
        self._collect()
        if self._waiting:
            self._under_way = self._storing.submit(self._store, self._waiting)
        self._waiting, self._bytes = [], 0

    def finish(self) -> None:
        """Wait until all is in the lake.

        Raises:
            BucketError: the bucket is away.
        """
        self.flush()
        self._collect()

    def wait(self) -> None:
        """Wait until what was flushed is no longer in memory, however that ended; `finish` tells."""
        if self._under_way is not None:
            futures.wait([self._under_way])

    def _collect(self) -> None:
        if self._under_way is not None:
            done, self._under_way = self._under_way, None
            self._content.samples += done.result()

    def _store(self, samples: list[GoodSample]) -> list[StoredSample]:
        record = self._content.record
        rows = [
            LakeRow(
                sample_id=good.entry.sample_id,
                image=good.blob.image,
                media_type=good.blob.media_type,
                embedding=good.blob.embedding,
                anomaly_map=good.blob.anomaly_map,
            )
            for good in samples
        ]
        locations = self._lake.append(record.inspection, record.closed_at.date(), rows)
        return [
            StoredSample(
                good=_without_arrays(good),
                location=location,
                image_sha256=hashlib.sha256(good.blob.image).hexdigest(),
                image_bytes=len(good.blob.image),
            )
            for good, location in zip(samples, locations, strict=True)
        ]


def _without_arrays(good: GoodSample) -> GoodSample:
    blob = replace(good.blob, image=b"", embedding=_NOTHING, anomaly_map=_NOTHING)
    return replace(good, blob=blob)
