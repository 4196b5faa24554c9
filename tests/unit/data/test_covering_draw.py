from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import pytest

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.coverage import farthest_first, raised
from data.covering_draw import draw_covering
from data.draws import draw_items
from data.lake import Lake, LakeRow
from tests.unit.data.captured_line import INSPECTION, T0, Line


def store(catalog: Catalog, lake: Lake, embeddings: Mapping[str, np.ndarray]) -> None:
    rows = [
        LakeRow(sample_id=name, image=name.encode(), media_type="image/png", embedding=vector.astype(np.float16))
        for name, vector in embeddings.items()
    ]
    with catalog.session() as session:
        for row, location in zip(rows, lake.append(INSPECTION, T0.date(), rows), strict=True):
            sample = session.get_one(SampleRow, row.sample_id)
            sample.lake_path, sample.lake_row = location.path, location.row


def turned(degrees: float) -> np.ndarray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])


def test_the_farthest_from_all_that_is_known_or_picked_comes_first() -> None:
    offered = np.array([turned(d) for d in (0, 2, 45, 88, 90)])
    assert farthest_first(offered, np.array([turned(1)]), 3) == [4, 2, 3]
    assert len(farthest_first(offered, np.empty((0, 2)), 9)) == 5
    assert farthest_first(np.empty((0, 2)), np.empty((0, 2)), 3) == []


def test_every_offered_sample_keeps_a_score() -> None:
    assert raised([1.0, 0.001, 3.0], [1]) == [1.0, 20.0, 3.0]


def test_most_of_the_covering_share_is_drawn_and_no_probability_is_zero(
    catalog: Catalog, line: Line, lake: Lake
) -> None:
    ids = line.stream(["ok"] * 40, np.ones(40), keep=40)
    store(catalog, lake, {name: turned(0.01 * i) for i, name in enumerate(ids[:36])})
    far = {name: turned(30 + 15 * i) for i, name in enumerate(ids[36:])}
    store(catalog, lake, far)
    found = draw_covering(catalog, lake, INSPECTION, 8, share=0.5, random=random.Random(1), at=T0)
    assert len(set(found.sample_ids) & set(far)) >= 3
    items = draw_items(catalog, found.id or "")
    assert len(items) == 40
    assert all(item.p2 is not None and 0 < item.p2 <= 1 for item in items)
    assert sum(item.sample_id not in far for item in items if item.drawn) >= 4


def test_totals_stay_unbiased_whatever_is_picked(catalog: Catalog, line: Line, lake: Lake) -> None:
    ids = line.stream(["ok", "crack", "ok", "ok"] * 10, np.ones(40), keep=40)
    store(catalog, lake, {name: turned(9.0 * (i % 4) + i) for i, name in enumerate(ids)})
    totals = []
    for seed in range(400):
        with catalog.session() as session:  # the same offer again
            from data.catalog.models import DrawItemRow, DrawRow, WindowRow

            session.query(WindowRow).update({"draw_id": None})
            session.query(DrawItemRow).delete()
            session.query(DrawRow).delete()
        found = draw_covering(catalog, lake, INSPECTION, 10, share=0.6, random=random.Random(seed), at=T0)
        totals.append(sum(1 / (item.p2 or 0) for item in found.items if line.truth[item.sample_id] == "crack"))
    assert abs(np.mean(totals) - 10) < 4 * np.std(totals) / np.sqrt(len(totals))
    assert np.std(totals) > 0


def test_a_lost_file_of_the_lake_does_not_stop_labelling(
    catalog: Catalog, line: Line, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    line.stream(["ok"] * 5, np.ones(5), keep=5)
    found = draw_covering(catalog, lake, INSPECTION, 3, share=0.6, random=random.Random(1), at=T0)
    assert len(found.sample_ids) == 3
    assert "without its embedding" in caplog.text
