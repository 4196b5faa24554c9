"""Outcomes from files, and the labels that they contradict (rules of data/outcome_imports.py and label_reviews.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from data.catalog import Catalog
from data.catalog.models import OutcomeRow
from data.estimates import field_sample
from data.label_reviews import Doubt, open_reviews, record_contradictions, record_doubts
from data.labels import NewLabel, record_labels
from data.outcome_imports import ImportedOutcome, OutcomeFileError, import_outcomes, read_outcomes
from data.policy import OutcomePolicy
from data.queue import next_to_label
from tests.unit.data.captured_line import INSPECTION, T0
from tests.unit.data.judged_line import JudgedLine

CENSUS = OutcomePolicy(every_part_stages="end-of-line")
LATER = T0 + timedelta(days=2)


@pytest.fixture
def line(catalog: Catalog) -> JudgedLine:
    return JudgedLine(catalog, np.random.default_rng(7))


def written(path: Path, text: str) -> Path:
    file = path / "outcomes.csv"
    file.write_text(text, encoding="utf-8-sig")
    return file


def test_a_file_is_read_with_its_own_names_its_zone_and_a_stage_for_all(tmp_path: Path) -> None:
    file = written(
        tmp_path, "serial,result,tested\nA-1,failed,2030-07-01T12:00:00\nA-2, ok ,2030-07-01T12:00:00+00:00\n"
    )
    columns = {"part_id": "serial", "outcome": "result", "at": "tested"}
    first, second = read_outcomes(file, columns=columns, stage="returns", zone=ZoneInfo("Europe/Berlin"))
    assert (first.part_id, first.value, first.stage) == ("A-1", "failed", "returns")
    assert first.at == datetime(2030, 7, 1, 10, 0, tzinfo=UTC)
    assert (second.value, second.at) == ("ok", datetime(2030, 7, 1, 12, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("part,outcome,at\n", "column part_id is missing, found part, outcome, at; name it with --column"),
        ("part_id,outcome,at\n", "no line after the header"),
        ("part_id,outcome,at\nA-1,,2030-01-01\n", "line 2: outcome is empty"),
        ("part_id,outcome,at\nA-1,ok,2030-01-01\nA-2,ok,yesterday\n", "line 3: at is 'yesterday'; expected an instant"),
        (
            f"part_id,outcome,at\n{'x' * 257},ok,2030-01-01\n",
            "line 2: part_id has 257 characters; expected at most 256",
        ),
        ("", "found no header"),
    ],
)
def test_a_file_that_cannot_be_read_names_its_line_and_what_was_expected(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(OutcomeFileError, match=message):
        read_outcomes(written(tmp_path, text))
    with pytest.raises(OutcomeFileError, match="cannot be read"):
        read_outcomes(tmp_path / "nothing.csv")


def outcome(line: JudgedLine, sample_id: str, value: str, stage: str = "end-of-line") -> ImportedOutcome:
    return ImportedOutcome(part_id=line.part[sample_id], value=value, stage=stage, at=T0 + timedelta(hours=5))


def test_outcomes_of_every_part_count_as_those_of_devices_and_a_second_import_adds_none(
    catalog: Catalog, line: JudgedLine
) -> None:
    ids = line.stream(["ok"] * 18 + ["crack"] * 2, np.tile([0.9, 0.05, 0.05], (20, 1)), keep=20)
    told = [outcome(line, i, "passed" if line.truth[i] == "ok" else "failed") for i in ids]
    told += [ImportedOutcome(part_id="unknown", value="reworked", stage="", at=LATER), told[0]]
    done = import_outcomes(catalog, INSPECTION, told, CENSUS, at=LATER)
    assert (done.rows, done.new, done.of_captured_parts, done.unread) == (22, 21, 21, {"reworked": 1})
    sample = field_sample(catalog, INSPECTION, outcomes=CENSUS)
    assert {s.sample_id for s in sample.samples if s.defect} == {i for i in ids if line.truth[i] != "ok"}
    again = import_outcomes(catalog, INSPECTION, told, CENSUS, at=LATER)
    assert (again.rows, again.new) == (22, 0)
    with catalog.reading() as session:
        assert session.query(OutcomeRow).count() == 21


def test_a_returned_part_whose_frame_was_labelled_ok_is_offered_once_for_a_second_look(
    catalog: Catalog, line: JudgedLine
) -> None:
    ids = line.stream(["ok"] * 4, np.tile([0.9, 0.05, 0.05], (4, 1)), keep=4)
    line.label(ids[:3], said="ok")
    doubts = [Doubt(sample_id=i, given="ok", suggested="void", confidence=0.1) for i in ids[:2]]
    told = [outcome(line, ids[0], "failed", "returns"), outcome(line, ids[1], "passed", "returns"),
            outcome(line, ids[3], "failed", "returns")]  # fmt: skip
    import_outcomes(catalog, INSPECTION, told, OutcomePolicy(), at=LATER)
    record_doubts(catalog, INSPECTION, doubts, snapshot_id="s1", at=LATER)
    assert record_contradictions(catalog, INSPECTION, OutcomePolicy(), at=LATER) == 1
    assert record_contradictions(catalog, INSPECTION, OutcomePolicy(), at=LATER) == 1  # still that one
    record_doubts(catalog, INSPECTION, doubts, snapshot_id="s2", at=LATER)  # a retrain takes only its own back
    assert open_reviews(catalog, INSPECTION) == 2

    def offered() -> list[tuple[str, str]]:
        items = next_to_label(catalog, INSPECTION, "bob", 10, at=LATER, review_share=0.5)
        return [(item.sample_id, item.reason) for item in items if item.why == "review"]

    assert offered() == [
        (ids[0], "it is labelled ok; of the part returns says failed"),
        (ids[1], "it is labelled ok; models that did not learn from it say void"),
    ]
    again = [NewLabel(sample_id=ids[0], classes=["ok"], event_id="looked again, it is ok")]
    record_labels(catalog, again, who="bob", at=LATER + timedelta(hours=1), source="console")
    assert [sample_id for sample_id, _ in offered()] == [ids[1]]
    assert record_contradictions(catalog, INSPECTION, OutcomePolicy(), at=LATER + timedelta(hours=2)) == 0
    assert [sample_id for sample_id, _ in offered()] == [ids[1]]


def test_a_label_that_knew_the_outcome_is_not_offered(catalog: Catalog, line: JudgedLine) -> None:
    ids = line.stream(["ok"] * 2, np.tile([0.9, 0.05, 0.05], (2, 1)), keep=2)
    import_outcomes(catalog, INSPECTION, [outcome(line, ids[0], "failed")], CENSUS, at=T0 - timedelta(hours=1))
    line.label(ids, said="ok")  # at T0
    assert record_contradictions(catalog, INSPECTION, CENSUS, at=LATER) == 0
