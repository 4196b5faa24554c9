"""The catalog shell: labels, opinions, context of other stations, outcomes; from SQLite."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from data.catalog import Catalog
from data.catalog.models import OutcomeRow, SampleRow, WindowRow
from data.causes import Settings, Verdict, find_causes
from data.causes.findings import ANY_DEFECT
from data.devices import register_device
from data.draws import draw
from data.inspections import InspectionError, create_inspection
from data.labels import NewLabel, record_labels
from tests.unit.data.captured_line import INSPECTION, KEY, T0, factory_sample, sqlite_url

PRESS = "pressing"
PARTS, HOURS = 360, 5


def window(
    catalog: Catalog, device: str, station: str, inspection: str, number: int, at: datetime, frames: int
) -> None:
    with catalog.session() as session:
        session.add(
            WindowRow(
                device=device, epoch=1, window=number, inspection=inspection, site="plant", station=station,
                opened_at=at, closed_at=at + timedelta(hours=1), engine_ids=["e1"], frames=frames, weight_total=1.0,
                threshold=0.0, byte_budget=1, excluded=0, overload=0, class_counts={}, verdict_counts={},
                histograms={}, runs=[], manifest_entries=frames, manifest_counted=frames,
                manifest_inverse_p=float(frames), missing=0, uploaded_bytes=1, record_sha256="0" * 64, ingested_at=at,
            )
        )  # fmt: skip


def sample(
    device: str, station: str, inspection: str, number: int, part: int, at: datetime, **values: object
) -> SampleRow:
    row = {
        "sample_id": hashlib.sha256(f"{device}{number}{part}".encode()).hexdigest()[:32], "inspection": inspection,
        "origin": "field", "device": device, "station": station, "epoch": 1, "window": number, "sequence": part,
        "image_sha256": "1" * 64, "lake_path": "x", "lake_row": part, "media_type": "image/png", "image_bytes": 1,
        "weight": 1.0, "u": 0.5, "p1": 1.0, "counted": True, "reasons": {}, "run": part, "run_length": 1,
        "part_id": f"A-{part}", "group": f"part:{part}", "split": "train", "captured_at": at, "ingested_at": at,
        "engine_id": "e1", "classes": ["ok", "crack", "void"], "probabilities": [0.8, 0.15, 0.05], "anomaly": 0.1,
        "verdict": "ok", "context": {},
    }  # fmt: skip
    return SampleRow(**{**row, **values})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, first_catalog: Path) -> Path:
    folder = tmp_path_factory.mktemp("plant")
    shutil.copy(first_catalog, folder / "catalog.db")
    catalog = Catalog.open(sqlite_url(folder))
    build(catalog)
    catalog.close()
    return folder / "catalog.db"


@pytest.fixture
def plant(built: Path, tmp_path: Path) -> Iterator[Catalog]:
    shutil.copy(built, tmp_path / "catalog.db")
    catalog = Catalog.open(sqlite_url(tmp_path))
    yield catalog
    catalog.close()


def build(catalog: Catalog) -> None:
    """A press under an inspection of its own, and the line's inspection half an hour later, over five hours."""
    create_inspection(catalog, PRESS, [("ok", "ok"), ("burr", "defect")], at=T0)
    register_device(catalog, "press-1", "plant", "press", [PRESS], KEY, at=T0)
    rng = np.random.default_rng(0)
    humidity = rng.normal(size=PARTS)
    crack = rng.random(PARTS) < 0.15 * np.exp(1.2 * humidity)
    for hour in range(HOURS):
        at = T0 + timedelta(hours=hour)
        window(catalog, "press-1", "press", PRESS, hour, at, 72)
        window(catalog, "line-1", "oven", INSPECTION, hour, at + timedelta(minutes=30), 72)
        with catalog.session() as session:
            for part in range(72 * hour, 72 * (hour + 1)):
                seen = at + timedelta(seconds=45 * (part - 72 * hour))
                session.add(
                    sample(
                        "press-1", "press", PRESS, hour, part, seen, context={"humidity": float(humidity[part])},
                        run_length=2, p1=0.5,
                    )
                )  # fmt: skip
                session.add(
                    sample(
                        "line-1", "oven", INSPECTION, hour, part, seen + timedelta(minutes=30),
                        context={"heat": float(rng.normal()), "station": "oven-2"},
                    )
                )  # fmt: skip
    drawn = draw(catalog, INSPECTION, 300, random=random.Random(1), at=T0)
    with catalog.reading() as session:
        part_of = {row.sample_id: int((row.part_id or "")[2:]) for row in session.query(SampleRow)}
    labels = [
        NewLabel(sample_id=s, classes=["crack" if crack[part_of[s]] else "ok"], event_id=s) for s in drawn.sample_ids
    ]
    record_labels(catalog, labels, who="ann", at=T0, source="console")
    with catalog.session() as session:
        for part in range(PARTS):
            session.add(
                OutcomeRow(
                    event_id=f"o{part}", device="line-1", inspection=INSPECTION, part_id=f"A-{part}",
                    value="leaks" if crack[part] else "passed", stage="end-of-line", at=T0 + timedelta(hours=9),
                    ingested_at=T0,
                )
            )  # fmt: skip


def test_humidity_at_another_station_is_found_from_labels_and_from_outcomes(plant: Catalog) -> None:
    causes = find_causes(plant, INSPECTION)
    labels, outcomes = causes.speaks
    assert (labels.labelled, labels.parts) == (300, PARTS)
    assert labels.stands_for == pytest.approx(PARTS)
    assert labels.joined == {"oven-2": PARTS, "press": PARTS}
    assert (outcomes.population, outcomes.labelled) == ("outcomes at end-of-line", PARTS)
    found = {(a.population, a.target, a.station, a.variable) for a in causes.found}
    assert ("labels", "crack", "press", "humidity") in found
    assert ("labels", ANY_DEFECT, "press", "humidity") in found
    assert ("outcomes at end-of-line", "leaks", "press", "humidity") in found
    assert not {f for f in found if f[3] == "heat"}
    by_label = next(a for a in causes.found if a.target == "crack")
    assert by_label.lag is not None
    assert by_label.lag.median == 30 * 60
    assert by_label.effect is not None
    assert by_label.effect.high.population == pytest.approx(PARTS / 5, abs=2)  # 1/(p·m) of both recordings: one each


def test_extras_and_flags_have_no_probability_and_do_not_count(plant: Catalog) -> None:
    before = find_causes(plant, INSPECTION)
    with plant.session() as session:
        session.add(
            sample("press-1", "press", PRESS, 0, 5_000, T0, part_id="A-3", extra="flag", counted=False, p1=None,
                   context={"humidity": 99.0})
        )  # fmt: skip
    factory_sample(plant, "imported", part_id="A-4", context={"humidity": 99.0})
    assert find_causes(plant, INSPECTION).to_dict() == before.to_dict()


def test_time_and_station_restrict_what_is_looked_at(plant: Catalog) -> None:
    late = find_causes(plant, INSPECTION, since=T0 + timedelta(hours=3))
    assert late.speaks[0].parts == 72 * 2
    assert late.speaks[1].parts == PARTS  # told later
    early = find_causes(plant, INSPECTION, until=T0 + timedelta(hours=3))
    assert [s.population for s in early.speaks] == ["labels"]
    elsewhere = find_causes(plant, INSPECTION, station="oven-1")
    assert elsewhere.speaks == ()
    assert elsewhere.tests == 0


def test_one_part_that_is_sent_again_and_again_is_bounded(plant: Catalog) -> None:
    with plant.session() as session:
        for i in range(300):
            session.add(
                sample(
                    "press-1",
                    "press",
                    PRESS,
                    0,
                    9_000 + i,
                    T0,
                    part_id="A-1",
                    context={f"k{i}": "<b>", "humidity": 0.0},
                )
            )
    causes = find_causes(plant, INSPECTION)
    assert causes.tests < 20
    assert any(a.verdict is Verdict.FOUND for a in causes.associations)


def test_an_unknown_inspection_is_named(catalog: Catalog) -> None:
    with pytest.raises(InspectionError, match="nothing"):
        find_causes(catalog, "nothing", settings=Settings())


def test_an_inspection_without_labels_and_outcomes_gives_an_empty_analysis(catalog: Catalog) -> None:
    assert find_causes(catalog, INSPECTION).speaks == ()
