from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

from data.field_measures import FieldMeasures, Figure, Measures
from data.intervals import Estimate
from data.outcomes import Contradiction
from infra.cli.field_report import field_lines


def estimate(value: float, low: float, high: float, n: int) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=n, population=1_000)


UNKNOWN = estimate(math.nan, 0.0, 1.0, 0)
ROW = Measures(
    by="all", name="", frames=10_000, labelled=214, by_outcome=60, found=21, nonresponse=0.01,
    rate=Figure(plain=estimate(0.012, 0.008, 0.021, 214), difference=estimate(0.0118, 0.009, 0.02, 214)),
    recall=Figure(plain=estimate(0.9, 0.5, 1.0, 21)),
    precision=Figure(plain=UNKNOWN),
    missed="no miss found in 60 passed frames checked: fewer than 5 % of passed frames missed (95 %)",
)  # fmt: skip
RETURNED = Contradiction(
    sample_id="a" * 32, part_id="A-1042", first="end-of-line", first_defect=False, stage="return", value="failed",
    known_at=datetime(2030, 1, 2, tzinfo=UTC),
)  # fmt: skip


def test_each_figure_is_told_with_its_interval_its_n_and_what_labels_alone_say() -> None:
    lines = field_lines(FieldMeasures(inspection="solder", rows=(ROW,)))
    text = "\n".join(lines)
    assert "all frames: 10,000 frames, 214 known, 60 of them by outcome, 21 defects among them, 1.0%" in text
    assert "defective  1.18 % (0.90 to 2.00 %), n = 214 [1.20 % (0.80 to 2.10 %)]" in text
    assert "recall     90.0 % (50.0 to 100.0 %), n = 21; no miss found in 60" in text
    assert "precision  no rejected frame is labelled" in text


def test_nothing_is_told_before_anything_is_known() -> None:
    nothing = replace(ROW, labelled=0, rate=Figure(plain=UNKNOWN))
    assert field_lines(FieldMeasures(inspection="solder", rows=(nothing,))) == []
    station = replace(nothing, by="station", name="press")
    text = "\n".join(field_lines(FieldMeasures(inspection="solder", rows=(ROW, station))))
    assert "station press: 10,000 frames, no truth yet" in text


def test_what_outcomes_contradict_and_what_they_cannot_be_used_for_is_said() -> None:
    found = FieldMeasures(
        inspection="solder", rows=(ROW,), contradictions=(RETURNED,) * 7, selected_outcomes=3,
        unread_outcomes={"reworked": 2},
    )  # fmt: skip
    text = "\n".join(field_lines(found))
    assert text.count("part A-1042: end-of-line says ok, return says 'failed'") == 5
    assert "and 2 more parts" in text
    assert "3 captured parts have an outcome only of a stage that reports some parts" in text
    assert "'reworked' (2)" in text
