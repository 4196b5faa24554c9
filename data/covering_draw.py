"""A draw that spends a part of its labels on what is new: reads embeddings from the lake, scores by `coverage`."""

from __future__ import annotations

import logging
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.coverage import farthest_first, raised
from data.draws import Draw, Uniform, default_score, draw, not_offered
from data.lake import Lake, LakeError
from data.sample_conditions import settled
from edge_client.contract.errors import NotFound

_log = logging.getLogger("andon.labelling")
#: Samples compared at most, offered ones of highest score and the newest labelled: bounds time and memory.
MOST_COMPARED = 2_000


def draw_covering(
    catalog: Catalog, lake: Lake, inspection: str, n: int, *, share: float, random: Uniform, at: datetime
) -> Draw:
    """Draw up to n samples for labelling, about `share` of them those that cover most of what no label has shown.

    Args:
        catalog: The catalog.
        lake: Where the embeddings are.
        inspection: Its name.
        n: At least 1.
        share: From 0 (all by the sampling weight) to 1.
        random: Source of u.
        at: When.

    Raises:
        InspectionError: Unknown inspection.
        BucketError: The lake's bucket is away.
    """
    weights = covering_scores(catalog, lake, inspection, round(n * share)) if share > 0 else None
    return draw(catalog, inspection, n, random=random, at=at, weights=weights)


def covering_scores(catalog: Catalog, lake: Lake, inspection: str, picks: int) -> dict[str, float]:
    """Return sample id -> score of what the next draw is offered, the scores of `picks` covering ones raised."""
    with catalog.reading() as session:
        offered = sorted(session.scalars(not_offered(inspection)), key=lambda row: (-default_score(row), row.sample_id))
        known = _labelled(session, inspection)
        offered = offered[:MOST_COMPARED]
        embeddings = _embeddings(lake, offered)
        seen = _embeddings(lake, known)
    width = max((len(e) for e in embeddings.values()), default=0)
    compared = [i for i, row in enumerate(offered) if len(embeddings.get(row.sample_id, ())) == width > 0]
    rows = np.array([embeddings[offered[i].sample_id] for i in compared], dtype=np.float32)
    others = [e for e in seen.values() if len(e) == width]
    found = farthest_first(rows, np.array(others, dtype=np.float32).reshape(len(others), width), picks)
    scores = raised([default_score(row) for row in offered], [compared[i] for i in found])
    return {row.sample_id: score for row, score in zip(offered, scores, strict=True)}


def _labelled(session: Session, inspection: str) -> list[SampleRow]:
    query = (
        select(SampleRow)
        .where(SampleRow.inspection == inspection, SampleRow.origin == "field", settled())
        .order_by(SampleRow.captured_at.desc(), SampleRow.sample_id)
        .limit(MOST_COMPARED)
    )
    return list(session.scalars(query))


def _embeddings(lake: Lake, rows: list[SampleRow]) -> dict[str, NDArray[np.float16]]:
    """Sample id -> float16 [D]; samples without one are left out. Read in the lake's order: fastest."""
    found = {}
    for row in sorted(rows, key=lambda r: (r.lake_path, r.lake_row)):
        try:
            embedding = lake.embedding(row.lake_path, row.lake_row)
        except (NotFound, LakeError) as error:  # one lost file must not keep people from labelling the rest
            _log.warning("sample %s is drawn without its embedding: %s", row.sample_id, error)
            continue
        if embedding is not None and embedding.size:
            found[row.sample_id] = embedding
    return found
