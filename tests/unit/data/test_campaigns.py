"""What a campaign has brought, and what its examples are made of: on a real catalog and lake."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from data.campaigns import REQUESTED, brought
from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.labels import record_label
from data.lake import Lake, LakeRow
from edge_client.contract.bucket import DirectoryBucket
from flows.fleet_settings.campaigns import examples_of
from flows.fleet_settings.signing import SettingsError
from tests.unit.data.captured_line import INSPECTION, T0, Line, factory_sample


def ask_for(catalog: Catalog, sample_ids: list[str], campaign: str, share: float) -> None:
    """Note that a campaign paid for a share of samples' weights."""
    with catalog.session() as session:
        for row in session.scalars(select(SampleRow).where(SampleRow.sample_id.in_(sample_ids))):
            assert row.weight is not None
            row.reasons = {REQUESTED + campaign: share * row.weight, "audit": (1 - share) * row.weight}


def test_what_was_brought_is_counted_with_its_share_and_its_precision(catalog: Catalog, line: Line) -> None:
    ids = line.stream(["crack"] * 10 + ["ok"] * 90, np.ones(100), 100)  # all are kept
    cracks = [i for i in ids if line.truth[i] == "crack"]
    ask_for(catalog, [*cracks, *[i for i in ids if i not in cracks][:10]], "c:1 'x'", 0.5)
    for sample_id in [*cracks[:6], *[i for i in ids if i not in cracks][:4]]:
        line.label(sample_id)
    found = brought(catalog, "c:1 'x'", since=T0, wanted="crack")
    assert (found.samples, found.image_bytes, found.by_device) == (20, 200, {"line-1": 20})
    assert (found.paid_samples, found.paid_share) == (pytest.approx(10), pytest.approx(0.1))
    assert found.precision is not None
    assert (found.precision.value, found.precision.n, found.precision.population) == (0.6, 10, 20)
    assert (round(found.precision.low, 3), round(found.precision.high, 3)) == (0.262, 0.878)
    assert (found.frames.value, found.frames.n) == (20, 20)  # every frame was kept: p = 1
    assert brought(catalog, "other", since=T0).samples == 0
    assert brought(catalog, "c:1 'x'", since=T0 + timedelta(days=1)).samples == 0


def test_how_many_frames_match_is_estimated_with_their_probabilities(catalog: Catalog, line: Line) -> None:
    """40 windows of 50 frames, 10 of which match with three times the weight; 12 are kept. |z| < 4."""
    weights = np.where(np.arange(50) < 10, 3.0, 1.0)
    for _ in range(40):
        ids = line.stream(["ok"] * 50, weights, 12)
        with catalog.reading() as session:
            query = select(SampleRow.sample_id).where(SampleRow.sample_id.in_(ids), SampleRow.weight > 2)
            heavy = list(session.scalars(query))
        ask_for(catalog, heavy, "c", 0.66)
    found = brought(catalog, "c", since=T0)
    assert found.frames.low < 400 < found.frames.high
    assert abs(found.frames.value - 400) < 4 * 25  # sd of about 25: some 6 of 10 are kept of each window
    assert found.precision is None


def test_examples_are_set_against_frames_that_were_passed(catalog: Catalog, line: Line, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lake = Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "cache")
    lake.note_space(INSPECTION, "e1", "trunk-1")
    ids = line.stream(["crack"] * 3 + ["ok"] * 40, np.ones(43), 43)
    rows = [
        LakeRow(sample_id=i, image=b"x", media_type="image/png", embedding=random.normal(size=8).astype(np.float16))
        for i in ids
    ]
    places = dict(zip(ids, lake.append(INSPECTION, T0.date(), rows), strict=True))
    cracks = [i for i in ids if line.truth[i] == "crack"]
    with catalog.session() as session:
        for row in session.scalars(select(SampleRow)):
            row.lake_path, row.lake_row = places[row.sample_id].path, places[row.sample_id].row
            row.verdict = "defect" if row.sample_id in cracks[2:] else "ok"
    record_label(catalog, sample_id=cracks[0], classes=["crack"], who="ann", at=T0, event_id="1")
    missed = next(i for i in ids if i not in cracks)
    record_label(catalog, sample_id=missed, classes=["void"], who="ann", at=T0, event_id="2")
    examples, label = examples_of(catalog, lake, INSPECTION, cracks[:2])
    assert (label, examples.embedding_id, examples.wanted.shape) == ("crack", "trunk-1", (2, 8))
    assert len(examples.ordinary) == 39  # neither an example, nor what was stopped, nor a labelled defect
    assert np.allclose(np.linalg.norm(examples.ordinary, axis=1), 1, atol=1e-3)
    (place,) = lake.append(INSPECTION, T0.date(), [LakeRow(sample_id="f" * 32, image=b"y", media_type="image/png")])
    imported = factory_sample(catalog, "f" * 32, lake_path=place.path, lake_row=place.row)
    for wrong, says in (("0" * 32, "has no sample"), (imported, "imported")):
        with pytest.raises(SettingsError, match=says):
            examples_of(catalog, lake, INSPECTION, [wrong])
