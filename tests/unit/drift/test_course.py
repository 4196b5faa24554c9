"""The course of drift and the frames that show it, on a real catalog and lake (data/drift/course.py, examples.py)."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from data.catalog.models import DriftPointRow, SampleRow
from data.drift.alarms import list_alarms
from data.drift.course import KeptCourses, Point, courses, record, thinned
from data.drift.examples import counts_in, evenly, examples_of
from data.drift.look import look
from data.drift.rates import ANOMALOUS
from data.drift.watches import close_alarm
from data.policy import DriftPolicy
from tests.unit.drift.captured_days import INSPECTION, T0, Days

POLICY = DriftPolicy(reference_days=5)


def looked(days: Days) -> None:
    look(days.catalog, days.lake, INSPECTION, POLICY, at=T0 + timedelta(days=days.day))


def test_every_window_that_was_watched_has_a_point_and_the_one_that_alarmed_is_at_the_limit(days: Days) -> None:
    days.pass_by(8)
    looked(days)  # learns
    looked(days)  # looks at the three days since
    days.pass_by(3, gain=0.85)
    looked(days)
    pictures = courses(days.catalog, INSPECTION, since=T0)["line-1", "pictures"]
    (alarm,) = list_alarms(days.catalog, INSPECTION)
    quiet = [point for point in pictures if point.at < T0 + timedelta(days=8)]
    assert len(quiet) == 9
    assert max(point.level for point in quiet) < 0.1
    assert pictures[-1].level >= 1
    assert (pictures[-1].at, pictures[-1].leading) == (alarm.window_at, "brightness")
    assert all(point.level < 1 for point in pictures[:-1])
    days.pass_by(2, gain=0.85)
    looked(days)  # an open alarm: not watched, and no point
    assert courses(days.catalog, INSPECTION, since=T0)["line-1", "pictures"] == pictures
    close_alarm(days.catalog, alarm.id, inspection=INSPECTION, who="ann", at=T0, new_normal=False)
    days.pass_by(1)
    looked(days)
    assert len(courses(days.catalog, INSPECTION, since=T0)["line-1", "pictures"]) == len(pictures) + 3
    recent = courses(days.catalog, INSPECTION, since=alarm.window_at + timedelta(hours=1))
    assert len(recent["line-1", "pictures"]) == 3


def test_a_rate_that_moved_is_named_dated_and_shown_by_frames_that_count_in_it(days: Days) -> None:
    days.pass_by(8)
    looked(days)
    with days.catalog.session() as session:  # two frames of each window were taken for cracks
        for row in session.query(SampleRow).filter(SampleRow.sequence % 100 < 2):
            row.probabilities = [0.2, 0.8]
    days.pass_by(2, cracks=0.15)
    looked(days)
    rates = courses(days.catalog, INSPECTION, since=T0)["line-1", "rates"]
    assert (rates[-1].level >= 1, rates[-1].leading[:6]) == (True, "class ")
    (alarm,) = list_alarms(days.catalog, INSPECTION)
    assert alarm.figures["series"] == rates[-1].leading
    assert alarm.began_at is not None
    assert abs(alarm.began_at - (T0 + timedelta(days=8))) < timedelta(hours=9)
    shown = examples_of(days.catalog, alarm)
    assert len(shown.before) == 4
    assert all(example.captured_at < alarm.began_at for example in shown.before)
    assert all(alarm.began_at <= example.captured_at <= alarm.window_at for example in shown.after)
    said = alarm.figures["series"].removeprefix("class ")
    assert {example.says for example in shown.before} == {said}


def test_frames_are_taken_as_the_line_saw_them(days: Days) -> None:
    # nine frames in ten were sought with certainty: of 20 choices by 1/p most are of the others
    p = np.where(np.arange(100) % 10 == 0, 0.01, 1.0)
    chosen = evenly(p, 8)
    assert chosen == sorted(set(chosen))
    assert sum(i % 10 == 0 for i in chosen) >= 7
    assert evenly(np.array([]), 4) == []
    assert evenly(np.ones(3), 8) == [0, 1, 2]


@pytest.mark.parametrize(
    ("series", "counts"),
    [("class crack", True), ("class ok", False), ("verdict defect", True), ("verdict ok", False),
     (ANOMALOUS, True), ("", True)],
)  # fmt: skip
def test_a_frame_counts_in_the_rates_that_its_record_counts(series: str, counts: bool) -> None:
    row = SampleRow(classes=["ok", "crack"], probabilities=[0.2, 0.8], verdict="defect", anomaly=1.2)
    assert counts_in(row, series) is counts


def test_kept_courses_are_read_anew_when_there_are_other_points(days: Days) -> None:
    def row(window: int, level: float) -> DriftPointRow:
        return DriftPointRow(
            inspection=INSPECTION, device="line-1", kind="rates", epoch=9, window=window, level=level, leading="x",
            at=T0 + timedelta(days=300),
        )  # fmt: skip

    kept = KeptCourses(days.catalog)
    with days.catalog.session() as session:
        record(session, [row(1, 0.25)])
    since = T0 + timedelta(days=200, minutes=7)
    first = kept.of(INSPECTION, since=since)
    assert [point.level for point in first["line-1", "rates"]] == [0.25]
    assert kept.of(INSPECTION, since=since + timedelta(minutes=20)) is first
    for rows, levels in ([row(2, 0.5)], [0.25, 0.5]), ([row(2, 0.75)], [0.25, 0.75]):  # one more; another in its place
        with days.catalog.session() as session:
            record(session, rows)
        assert [point.level for point in kept.of(INSPECTION, since=since)["line-1", "rates"]] == levels


def test_a_thinned_course_keeps_its_peaks_and_its_end() -> None:
    points = [Point(at=T0 + timedelta(hours=i), level=0.001, leading="x") for i in range(1_000)]
    points[437] = Point(at=points[437].at, level=0.9, leading="peak")
    kept = thinned(points, 50)
    assert len(kept) <= 50
    assert points[437] in kept
    assert kept[-1] == points[-1]
    assert [point.at for point in kept] == sorted(point.at for point in kept)
    assert thinned(points[:30], 50) == points[:30]
