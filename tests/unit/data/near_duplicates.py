"""A line that stands still now and then: captured samples with embeddings, runs of them near-duplicates."""

from __future__ import annotations

import numpy as np
from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.models import SampleRow
from edge_client.contract.errors import Unavailable
from tests.unit.data.captured_line import Line


class Embeddings:
    """Embeddings by place, as the lake has them; `away` is a lake that cannot be read."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, int], np.ndarray] = {}
        self.away = False
        self.reads = 0
        self.spaces: dict[str | None, str] = {}

    def embedding(self, path: str, row: int) -> np.ndarray | None:
        if self.away:
            raise Unavailable("the bucket does not answer")
        self.reads += 1
        return self.at.get((path, row))

    def space_of(self, inspection: str, engine_id: str | None) -> str:
        return self.spaces.get(engine_id, "")


def standing_belt(
    catalog: Catalog, line: Line, store: Embeddings, runs: list[tuple[str, int]], *, keep: int | None = None
) -> list[str]:
    """One window of runs (label, length); all frames of a run look alike and are of one split group."""
    labels = [label for label, length in runs for _ in range(length)]
    of_frame = [i for i, (_, length) in enumerate(runs) for _ in range(length)]
    window = line.windows
    ids = line.stream(labels, np.ones(len(labels)), keep=keep or len(labels))
    rng = np.random.default_rng([11, window])
    looks = rng.normal(size=(len(runs), 32))
    with catalog.session() as session:
        for row in session.scalars(select(SampleRow).where(SampleRow.sample_id.in_(ids))):
            run = of_frame[row.lake_row]
            row.lake_path = f"lake/solder/{window}.parquet"
            row.group = "day:line-1:2030-01-01"
            vector = looks[run] + rng.normal(0, 0.01, 32)
            store.at[row.lake_path, row.lake_row] = (vector / np.linalg.norm(vector)).astype(np.float16)
    return ids
