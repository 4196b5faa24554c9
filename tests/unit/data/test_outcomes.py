from __future__ import annotations

import random

import numpy as np
import pytest
from sqlalchemy import event, update

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.current_labels import current_labels
from data.draws import draw
from data.estimates import field_sample
from data.inspections import get_inspection
from data.outcomes import contradictions, outcomes_in, read_outcome
from data.policy import OutcomePolicy, Policy
from edge_client.contract.errors import ConfigError
from tests.unit.data.captured_line import INSPECTION, T0
from tests.unit.data.judged_line import JudgedLine, judged

CENSUS = OutcomePolicy(every_part_stages="end-of-line")


@pytest.fixture
def line(catalog: Catalog) -> JudgedLine:
    return JudgedLine(catalog, np.random.default_rng(7))


def said(line: JudgedLine, sample_id: str) -> str:
    return "passed" if line.truth[sample_id] == "ok" else "failed"


def report_all(line: JudgedLine, ids: list[str]) -> None:
    for sample_id in ids:
        line.report(sample_id, said(line, sample_id))


def test_outcomes_of_every_part_are_a_census_of_what_was_captured(catalog: Catalog, line: JudgedLine) -> None:
    labels, rows = judged(line.rng, 200, 0.2)
    ids = line.stream(labels, rows, keep=60)
    report_all(line, ids)
    sample = field_sample(catalog, INSPECTION, outcomes=CENSUS)
    with catalog.reading() as session:
        p1 = {s.sample_id: s.p1 for s in session.query(SampleRow)}
    assert {s.sample_id: s.p for s in sample.samples} == pytest.approx(p1)  # no second stage
    assert {s.sample_id for s in sample.samples if s.defect} == {i for i in ids if line.truth[i] != "ok"}
    assert all(s.by_outcome for s in sample.samples)
    assert (sample.population, sample.nonresponse) == (200, pytest.approx(0.0))


def test_without_the_policy_no_outcome_counts(catalog: Catalog, line: JudgedLine) -> None:
    labels, rows = judged(line.rng, 50, 0.2)
    report_all(line, line.stream(labels, rows, keep=20))
    assert field_sample(catalog, INSPECTION).samples == ()
    assert field_sample(catalog, INSPECTION, outcomes=OutcomePolicy()).samples == ()


def test_returns_are_selected_and_never_counted(catalog: Catalog, line: JudgedLine) -> None:
    labels, rows = judged(line.rng, 100, 0.3)
    ids = line.stream(labels, rows, keep=40)
    for sample_id in ids:
        if line.truth[sample_id] != "ok":
            line.report(sample_id, "failed", stage="return")
    assert field_sample(catalog, INSPECTION, outcomes=CENSUS).samples == ()
    with catalog.reading() as session:
        found = outcomes_in(session, get_inspection(catalog, INSPECTION), CENSUS)
    assert found.selected == sum(line.truth[i] != "ok" for i in ids) > 0


def test_a_window_waits_until_enough_of_its_parts_are_reported(catalog: Catalog, line: JudgedLine) -> None:
    ids = line.stream(["ok"] * 40, np.tile([0.9, 0.05, 0.05], (40, 1)), keep=40)
    report_all(line, ids[:37])
    assert field_sample(catalog, INSPECTION, outcomes=CENSUS).samples == ()
    report_all(line, ids[37:38])
    sample = field_sample(catalog, INSPECTION, outcomes=CENSUS)
    assert len(sample.samples) == 38
    assert sample.nonresponse == pytest.approx(0.05)
    assert sum(1 / s.p for s in sample.samples) == pytest.approx(40)  # the rest speaks for them


def test_parts_that_never_reach_the_stage_make_it_no_census(catalog: Catalog, line: JudgedLine) -> None:
    # Two of a hundred parts are rejected and scrapped: 98 % are reported, but none of what was rejected.
    rows = np.tile([0.95, 0.03, 0.02], (100, 1))
    rows[:2] = [0.1, 0.6, 0.3]
    ids = line.stream(["crack"] * 2 + ["ok"] * 98, rows, keep=100)
    report_all(line, [i for i in ids if line.truth[i] == "ok"])
    assert field_sample(catalog, INSPECTION, outcomes=CENSUS).samples == ()
    for sample_id in ids:
        if line.truth[sample_id] != "ok":
            line.report(sample_id, "scrapped", stage="scrap")
    both = OutcomePolicy(every_part_stages="end-of-line, scrap")
    assert len(field_sample(catalog, INSPECTION, outcomes=both).samples) == 100


def test_a_persons_label_is_never_overridden_and_the_contradiction_is_shown(catalog: Catalog, line: JudgedLine) -> None:
    ids = line.stream(["ok"] * 20, np.tile([0.9, 0.05, 0.05], (20, 1)), keep=20)
    report_all(line, ids)
    line.label(ids[:1], said="crack")
    sample = field_sample(catalog, INSPECTION, outcomes=CENSUS)
    person = next(s for s in sample.samples if s.sample_id == ids[0])
    assert (person.label, person.defect, person.by_outcome, person.p) == (("crack",), True, False, 1.0)
    with catalog.reading() as session:
        info = get_inspection(catalog, INSPECTION)
        found = contradictions(info, outcomes_in(session, info, CENSUS), current_labels(catalog, inspection=INSPECTION))
    assert [(c.sample_id, c.first, c.first_defect, c.stage) for c in found] == [(ids[0], "ann", True, "end-of-line")]


def test_a_part_that_passed_and_came_back_is_shown_and_not_counted(catalog: Catalog, line: JudgedLine) -> None:
    ids = line.stream(["ok"] * 10, np.tile([0.9, 0.05, 0.05], (10, 1)), keep=10)
    report_all(line, ids)
    line.report(ids[3], "failed", stage="return", after_hours=900)
    sample = field_sample(catalog, INSPECTION, outcomes=CENSUS)
    assert not any(s.defect for s in sample.samples)
    with catalog.reading() as session:
        info = get_inspection(catalog, INSPECTION)
        (found,) = contradictions(info, outcomes_in(session, info, CENSUS), {})
    assert (found.sample_id, found.first, found.stage) == (ids[3], "end-of-line", "return")


def test_the_first_outcome_after_the_capture_counts(catalog: Catalog, line: JudgedLine) -> None:
    (sample_id,) = line.stream(["ok"], np.array([[0.9, 0.05, 0.05]]), keep=1)
    line.report(sample_id, "failed", after_hours=-2.0)  # of an earlier life of the part
    line.report(sample_id, "passed", after_hours=2.0)
    line.report(sample_id, "failed", after_hours=5.0)  # after a repair and another capture
    with catalog.reading() as session:
        found = outcomes_in(session, get_inspection(catalog, INSPECTION), CENSUS).of(sample_id)
    assert found is not None
    assert (found.value, found.defect) == ("passed", False)


def test_an_outcome_speaks_for_captured_samples_alone(catalog: Catalog, line: JudgedLine) -> None:
    (sample_id,) = line.stream(["ok"], np.array([[0.9, 0.05, 0.05]]), keep=1)
    line.report(sample_id, "passed")
    info = get_inspection(catalog, INSPECTION)
    with catalog.reading() as session:
        assert outcomes_in(session, info, CENSUS).of(sample_id) is not None
    with catalog.session() as session:
        session.execute(update(SampleRow).values(origin="factory"))
    with catalog.reading() as session:
        assert outcomes_in(session, info, CENSUS).of(sample_id) is None


@pytest.mark.sqlite_file
def test_samples_are_found_by_their_part(catalog: Catalog) -> None:
    """Found by time instead, a million of them with 100,000 outcomes took longer than a shift."""
    asked: list[str] = []
    event.listen(catalog.engine, "before_cursor_execute", lambda *all_of: asked.append(all_of[2]))
    with catalog.reading() as session:
        outcomes_in(session, get_inspection(catalog, INSPECTION), CENSUS)
        (joined,) = [sql for sql in asked if "JOIN outcomes" in sql]
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {joined}", (INSPECTION,)).all()
    assert any(
        "ix_samples_inspection_part_id" in str(row) or "ix_outcomes_inspection_part_id" in str(row) for row in plan
    )


def test_windows_with_outcomes_and_windows_with_labels_make_one_population(catalog: Catalog, line: JudgedLine) -> None:
    labels, rows = judged(line.rng, 60, 0.2)
    report_all(line, line.stream(labels, rows, keep=30))
    labels, rows = judged(line.rng, 80, 0.2)
    later = line.stream(labels, rows, keep=40)
    drawn = draw(catalog, INSPECTION, 70, random=random.Random(1), at=T0)
    line.label([i for i in drawn.sample_ids if i in later])
    sample = field_sample(catalog, INSPECTION, outcomes=CENSUS)
    assert sample.population == 140
    assert len([s for s in sample.samples if s.by_outcome]) == 30
    assert len([s for s in sample.samples if not s.by_outcome]) == len(set(drawn.sample_ids) & set(later))


def test_values_mean_what_the_policy_says(catalog: Catalog) -> None:
    info = get_inspection(catalog, INSPECTION)
    policy = Policy.from_mapping({"outcomes": {"defect_values": "leaks, open", "least_reported": 0.9}}).outcomes
    assert read_outcome(" Leaks ", info, policy) == (True, ())  # which of two defects it does not say
    assert read_outcome("VOID", info, policy) == (True, ("void",))
    assert read_outcome("passed", info, policy) == (False, ("ok",))
    assert read_outcome("failed", info, policy) is None
    with pytest.raises(ConfigError, match="least_reported"):
        Policy.from_mapping({"outcomes": {"least_reported": 0.2}})
