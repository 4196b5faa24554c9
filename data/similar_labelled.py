"""Which labelled frames look most like a given one: shown beside it while somebody labels.

1. Embeddings of one space are compared, by cosine; the newest `MOST` labelled field samples of an inspection are known.
2. Nothing is read twice: a request looks at the label events since the request before, and reads the embeddings of the
   samples that are new. A label that is taken back takes its sample out.
3. A request reads for at most `READING_SECONDS`; what is left waits for the next one, and the answer says how many are
   still unread. So the first requests after a start are as quick as any other.
4. A sample is never its own neighbour: a second opinion does not show the first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import LabelEventRow, SampleRow
from data.current_labels import current_labels_in
from data.draw_plan import EmbeddingStore
from data.sample_conditions import kept
from edge_client.contract.errors import NotFound

MOST = 5_000  # 25 MB of float32 at 1,280 dimensions
READING_SECONDS = 0.1
_BATCH = 500  # SQLite's limit on parameters of one statement is 999 in old builds

Place = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """A labelled frame that looks like the given one; ``similarity`` is the cosine, 1 for the same picture."""

    sample_id: str
    classes: tuple[str, ...]
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarFrames:
    """The nearest first. ``unread`` labelled samples were not compared yet (rule 3)."""

    frames: tuple[Similar, ...]
    compared: int
    unread: int


@dataclass(slots=True)
class VectorSet:
    """At most `most` vectors of one space, by name; the oldest goes when there are more."""

    most: int
    vectors: NDArray[np.float32]
    names: list[str | None] = field(default_factory=list)
    slots: dict[str, int] = field(default_factory=dict)
    following: int = 0  # slot that the next one takes when all are taken

    @staticmethod
    def of(width: int, most: int) -> VectorSet:
        """An empty set of vectors of one width."""
        return VectorSet(most=most, vectors=np.zeros((min(64, most), width), dtype=np.float32))

    def put(self, name: str, vector: NDArray[np.float32]) -> None:
        """Add or replace one."""
        slot = self.slots.get(name)
        if slot is None:
            slot = self._slot()
            self.slots[name], self.names[slot] = slot, name
        self.vectors[slot] = vector

    def drop(self, name: str) -> None:
        """Take one out, if it is there."""
        slot = self.slots.pop(name, None)
        if slot is not None:
            self.names[slot] = None

    def nearest(self, vector: NDArray[np.float32], count: int, *, but: str) -> list[tuple[str, float]]:
        """Names and cosines of the nearest, the nearest first."""
        used = len(self.names)
        cosines = self.vectors[:used] @ vector
        cosines[[i for i, name in enumerate(self.names) if name is None or name == but]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[:count]
        found = [(self.names[i], float(cosines[i])) for i in best.tolist()]
        return [(name, cosine) for name, cosine in found if name is not None and np.isfinite(cosine)]

    def _slot(self) -> int:
        if len(self.names) < self.most:
            self.names.append(None)
            if len(self.names) > len(self.vectors):
                more = np.zeros((min(self.most, 2 * len(self.vectors)), self.vectors.shape[1]), dtype=np.float32)
                more[: len(self.vectors)] = self.vectors
                self.vectors = more
            return len(self.names) - 1
        slot, self.following = self.following, (self.following + 1) % self.most
        old = self.names[slot]
        if old is not None:
            del self.slots[old]
        return slot


@dataclass(slots=True)
class _Index:
    """What is known of one inspection."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    serial: int = 0  # of the newest label event that was looked at
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unread: dict[str, tuple[str, Place]] = field(default_factory=dict)  # sample id → engine id, place
    space: dict[str, str] = field(default_factory=dict)  # sample id → where its vector is
    sets: dict[str, VectorSet] = field(default_factory=dict)


class SimilarLabelled:
    """Finds labelled frames that look alike. Safe to share between threads.

    Args:
        catalog: The catalog.
        lake: Where embeddings are.
        most: Labelled samples that are known of an inspection.
        monotonic: Seconds of a clock that never jumps.
    """

    def __init__(
        self,
        catalog: Catalog,
        lake: EmbeddingStore,
        *,
        most: int = MOST,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog, self._lake, self._most, self._monotonic = catalog, lake, most, monotonic
        self._lock = threading.Lock()
        self._indexes: dict[str, _Index] = {}

    def nearest(self, sample_id: str, count: int = 6) -> SimilarFrames:
        """The labelled frames of the sample's inspection that look most like it.

        Raises:
            NotFound: No such sample.
            BucketError: The bucket is away.
        """
        with self._catalog.reading() as session:
            row = session.get(SampleRow, sample_id)
        if row is None or row.erased_at is not None:
            raise NotFound(f"there is no sample {sample_id!r}")
        with self._lock:
            index = self._indexes.setdefault(row.inspection, _Index())
        with index.lock:
            self._catch_up(row.inspection, index)
            self._read(row.inspection, index)
            own = _unit(self._lake.embedding(row.lake_path, row.lake_row))
            known = index.sets.get(self._space(row.inspection, row.engine_id, own))
            if own is None or known is None:
                return SimilarFrames(frames=(), compared=0, unread=len(index.unread))
            found = known.nearest(own, count, but=sample_id)
            return SimilarFrames(
                frames=tuple(Similar(sample_id=name, classes=index.labels[name], similarity=c) for name, c in found),
                compared=len(known.slots),
                unread=len(index.unread),
            )

    def _catch_up(self, inspection: str, index: _Index) -> None:
        """Rule 2, without reading embeddings."""
        with self._catalog.reading() as session:
            newest = session.scalar(
                select(func.max(LabelEventRow.serial)).where(LabelEventRow.inspection == inspection)
            )
            if newest is None or newest <= index.serial:
                return
            query = (
                select(LabelEventRow.sample_id)
                .where(LabelEventRow.inspection == inspection, LabelEventRow.serial > index.serial)
                .group_by(LabelEventRow.sample_id)
                .order_by(func.max(LabelEventRow.serial).desc())
                .limit(self._most)
            )
            touched = list(session.scalars(query))
            labels = current_labels_in(session, touched)
            rows = _places(session, [name for name in labels if name not in index.labels])
        for sample_id in touched:
            label = labels.get(sample_id)
            if label is None:
                index.labels.pop(sample_id, None)
                index.unread.pop(sample_id, None)
                space = index.space.pop(sample_id, None)
                if space is not None:
                    index.sets[space].drop(sample_id)
            elif sample_id in index.labels or sample_id in rows:
                index.labels[sample_id] = label.classes
        index.unread |= rows
        index.serial = newest

    def _read(self, inspection: str, index: _Index) -> None:
        """Rule 3. In the order in which they are stored: neighbours cost nothing."""
        until = self._monotonic() + READING_SECONDS
        for sample_id, (engine_id, place) in sorted(index.unread.items(), key=lambda item: item[1][1]):
            vector = _unit(self._lake.embedding(*place))
            del index.unread[sample_id]
            if vector is not None:
                space = self._space(inspection, engine_id, vector)
                known = index.sets.setdefault(space, VectorSet.of(len(vector), self._most))
                known.put(sample_id, vector)
                index.space[sample_id] = space
            if self._monotonic() >= until:
                return

    def _space(self, inspection: str, engine_id: str | None, vector: NDArray[np.float32] | None) -> str:
        return f"{self._lake.space_of(inspection, engine_id)}/{0 if vector is None else len(vector)}"


def _places(session: Session, sample_ids: Sequence[str]) -> dict[str, tuple[str, Place]]:
    found: dict[str, tuple[str, Place]] = {}
    for start in range(0, len(sample_ids), _BATCH):
        query = select(SampleRow.sample_id, SampleRow.engine_id, SampleRow.lake_path, SampleRow.lake_row).where(
            SampleRow.sample_id.in_(sample_ids[start : start + _BATCH]), SampleRow.origin == "field", kept()
        )
        for sample_id, engine_id, path, row in session.execute(query):
            found[sample_id] = (engine_id or "", (path, row))
    return found


def _unit(vector: NDArray[np.float16] | None) -> NDArray[np.float32] | None:
    if vector is None or not np.any(vector):
        return None
    wide = vector.astype(np.float32)
    return np.asarray(wide / np.linalg.norm(wide), dtype=np.float32)
