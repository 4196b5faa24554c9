from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import numpy as np
import pytest

from data.catalog import Catalog
from data.draws import draw
from data.field_measures import field_measures, missed_in_words, units
from data.field_sample import LabelledSample
from data.policy import OutcomePolicy
from tests.unit.data.captured_line import INSPECTION, T0
from tests.unit.data.judged_line import CLASSES, JudgedLine, judged


@pytest.fixture
def line(catalog: Catalog) -> JudgedLine:
    return JudgedLine(catalog, np.random.default_rng(7))


def label_draw(line: JudgedLine, n: int, seed: int = 1) -> None:
    line.label(draw(line.catalog, INSPECTION, n, random=random.Random(seed), at=T0).sample_ids)


ROWS = np.array(
    [[0.9, 0.06, 0.04]] * 12 + [[0.3, 0.6, 0.1]] * 4 + [[0.3, 0.1, 0.6]] * 2 + [[0.6, 0.3, 0.1]] * 2, dtype=float
)
TRUTH = ["crack"] + ["ok"] * 11 + ["crack", "crack", "crack", "ok"] + ["void", "crack"] + ["void", "ok"]


def test_a_census_gives_every_figure_exactly(catalog: Catalog, line: JudgedLine) -> None:
    line.stream(TRUTH, ROWS, keep=20)
    label_draw(line, 20)
    found = field_measures(catalog, INSPECTION)
    rows = {(row.by, row.name): row for row in found.rows}
    assert list(rows) == [
        ("all", ""), ("class", "crack"), ("class", "void"), ("station", "oven"), ("device", "line-1"),
    ]  # fmt: skip
    for way in ("plain", "difference"):
        got = {
            name: [getattr(getattr(rows[by, name], figure), way) for figure in ("rate", "recall", "precision")]
            for by, name in rows
            if by in ("all", "class")
        }
        assert [e.value for e in got[""]] == pytest.approx([7 / 20, 6 / 7, 5 / 6])
        # Five cracks: one passed; of the four that were rejected as cracks three are.
        assert [e.value for e in got["crack"]] == pytest.approx([5 / 20, 4 / 5, 3 / 4])
        assert [e.value for e in got["void"]] == pytest.approx([2 / 20, 1.0, 1 / 2])
        assert all(e.low == pytest.approx(e.value) == e.high for estimates in got.values() for e in estimates)
    assert rows["all", ""].missed == "1 of 12 passed frames checked were misses"
    json.dumps(found.to_dict())


def test_what_records_tell_narrows_the_rate_and_leaves_it_unbiased(catalog: Catalog, line: JudgedLine) -> None:
    widths = []
    for window in range(6):
        labels, rows = judged(line.rng, 400, 0.3)
        single = JudgedLine(catalog, line.rng, windows=window)
        single.stream(labels, rows, keep=80)
        label_draw(single, 80, window)
    whole = field_measures(catalog, INSPECTION).rows[0]
    assert whole.rate.difference is not None
    assert (whole.frames, whole.labelled) == (2_400, 480)
    for estimate in (whole.rate.plain, whole.rate.difference):
        assert estimate.low <= 0.3 + 4 * (0.21 / 2_400) ** 0.5
        assert estimate.high >= 0.3 - 4 * (0.21 / 2_400) ** 0.5
        widths.append(estimate.high - estimate.low)
    assert widths[1] < 0.85 * widths[0]


def test_stations_and_devices_speak_for_their_own_frames(catalog: Catalog, line: JudgedLine) -> None:
    good = JudgedLine(catalog, line.rng, device="line-1", station="oven")
    bad = JudgedLine(catalog, line.rng, device="line-2", station="press")
    good.stream(["ok"] * 30, np.tile([0.9, 0.05, 0.05], (30, 1)), keep=30)
    bad.stream(["crack"] * 10, np.tile([0.2, 0.7, 0.1], (10, 1)), keep=10)
    drawn = draw(catalog, INSPECTION, 40, random=random.Random(1), at=T0)
    for one in (good, bad):
        one.label([i for i in drawn.sample_ids if i in one.truth])
    rows = {(row.by, row.name): row for row in field_measures(catalog, INSPECTION).rows}
    assert (rows["station", "oven"].frames, rows["station", "press"].frames) == (30, 10)
    assert (rows["device", "line-1"].rate.best.value, rows["device", "line-2"].rate.best.value) == (0.0, 1.0)
    assert rows["all", ""].rate.best.value == pytest.approx(0.25)
    assert np.isnan(rows["station", "oven"].recall.best.value)  # no defect there: nothing to recall
    assert np.isnan(rows["station", "oven"].precision.best.value)  # nothing was rejected


def test_older_records_leave_the_labels_alone(catalog: Catalog, line: JudgedLine) -> None:
    line.stream(TRUTH, ROWS, keep=20, tells=False)
    label_draw(line, 12)
    row = field_measures(catalog, INSPECTION).rows[0]
    assert row.rate.difference is None
    assert row.rate.best is row.rate.plain
    assert row.rate.plain.low <= 7 / 20 <= row.rate.plain.high


def test_one_old_record_among_new_ones_takes_precision_back_to_the_labels(catalog: Catalog, line: JudgedLine) -> None:
    line.stream(TRUTH, ROWS, keep=20)
    line.stream(TRUTH, ROWS, keep=20, tells=False)
    label_draw(line, 30)
    row = field_measures(catalog, INSPECTION).rows[0]
    assert row.rate.difference is not None
    assert row.precision.difference is None
    assert row.precision.plain.low <= 5 / 6 <= row.precision.plain.high


def test_nothing_labelled_is_said_to_be_unknown(catalog: Catalog, line: JudgedLine) -> None:
    line.stream(TRUTH, ROWS, keep=10)
    (row, *_) = field_measures(catalog, INSPECTION).rows
    assert np.isnan([row.rate.best.value, row.recall.best.value, row.precision.best.value]).all()
    assert row.missed == "no passed frame was checked yet"


def test_outcomes_that_name_no_class_say_nothing_by_class(catalog: Catalog, line: JudgedLine) -> None:
    ids = line.stream(TRUTH, ROWS, keep=20)
    for sample_id in ids:
        line.report(sample_id, "passed" if line.truth[sample_id] == "ok" else "failed")
    found = field_measures(catalog, INSPECTION, outcomes=OutcomePolicy(every_part_stages="end-of-line"))
    rows = {(row.by, row.name): row for row in found.rows}
    assert (rows["all", ""].by_outcome, rows["all", ""].rate.best.value) == (20, pytest.approx(7 / 20))
    assert (rows["class", "crack"].labelled, rows["class", "crack"].rate.plain.n) == (0, 0)


def test_a_miss_that_was_not_found_is_bounded_by_three_over_n() -> None:
    alike = missed_in_words(np.zeros(60), np.full(60, 0.02))
    assert alike == "no miss found in 60 passed frames checked: fewer than 5 % of passed frames missed (95 %)"
    uneven = missed_in_words(np.zeros(60), np.concatenate([np.full(30, 0.5), np.full(30, 0.01)]))
    assert "worth 31 drawn alike" in uneven
    assert "fewer than 9.6 %" in uneven
    assert missed_in_words(np.zeros(3), np.ones(3)) == "no miss found: all 3 passed frames were checked"
    assert CLASSES[0] == "ok"


def test_near_duplicates_that_say_the_same_are_one_label_and_its_variance_is_not_understated() -> None:
    def item(name: str, group: str, p1: float, p2: float, verdict: str = "ok") -> LabelledSample:
        return LabelledSample(
            sample_id=name,
            label=("scratch",),
            defect=True,
            p=p1 * p2,
            p2=p2,
            group=group,
            run_length=1,
            verdict=verdict,
            device="line-1",
            captured_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    chances = [0.5, 0.2, 0.9]
    items = [
        *(item(f"near-{i}", "g", p1, 0.25) for i, p1 in enumerate(chances)),
        item("near-unsure", "g", 0.5, 0.25, verdict="unsure"),  # the engine saw it otherwise: a label of its own
        *(item(f"all-drawn-{i}", "h", 0.5, 1.0) for i in range(2)),  # drawn for certain: frames are captured apart
        item("alone", "i", 0.5, 0.5),
    ]
    verdict = np.array([["ok", "unsure"].index(each.verdict or "") for each in items])
    ones = np.ones(len(items))
    first, p, score = units(items, ones, verdict, ones == 0, np.linspace(0, 1, len(items)))
    weights = sorted(1 / p)
    near = sum(1 / p1 for p1 in chances) / 0.25
    assert weights == pytest.approx(sorted([near, 8.0, 2.0, 2.0, 4.0]))
    assert len(first) == len(score) == 5
    assert sum(weights) == pytest.approx(sum(1 / each.p for each in items))
    exact = sum((1 - p1) / p1**2 for p1 in chances) / 0.25 + (near * 0.25) ** 2 * (1 - 0.25) / 0.25**2
    assert near**2 - near >= exact
