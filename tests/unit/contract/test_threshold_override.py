"""Signed thresholds in place of an engine's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_client.contract.decision import Judge, Verdict
from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds
from edge_client.contract.threshold_override import overridden, overrides
from edge_client.engine import Engine
from edge_client.judging import Judging
from tests.tiny_engine import tiny_engine, tiny_metadata

PLAIN = tiny_metadata(thresholds={"defect": 0.5, "unsure_low": 0.5, "unsure_high": 0.5})
BY_CLASS = EngineMetadata(
    engine_id="e",
    inspection="plates",
    classes=(ClassInfo(name="ok", kind=Kind.OK), *(ClassInfo(name=n, kind=Kind.DEFECT) for n in ("dent", "crack"))),
    thresholds=Thresholds(defect=0.5, by_class=(1.0, 0.6, 0.2)),
    training_prior=(0.8, 0.1, 0.1),
    embedding_id="t",
)


def test_a_stricter_threshold_turns_a_frame_that_passed_into_a_defect() -> None:
    assert Judge(PLAIN).one([0.7, 0.3], 0.0)[0] is Verdict.OK
    assert Judge(overridden(PLAIN, {"defect": 0.25})).one([0.7, 0.3], 0.0)[0] is Verdict.DEFECT
    assert overridden(PLAIN, {}) is PLAIN


@pytest.mark.parametrize(("crack", "verdict"), [(0.09, Verdict.OK), (0.11, Verdict.DEFECT)])
def test_thresholds_by_class_move_in_proportion(crack: float, verdict: Verdict) -> None:
    assert Judge(BY_CLASS).one([1 - crack, 0.0, crack], 0.0)[0] is Verdict.OK
    stricter = overridden(BY_CLASS, {"defect": 0.25})
    assert stricter.thresholds.by_class == (1.0, 0.3, 0.1)
    assert Judge(stricter).one([1 - crack, 0.0, crack], 0.0)[0] is verdict


def test_a_laxer_threshold_never_leaves_a_probability() -> None:
    assert overridden(BY_CLASS, {"defect": 0.999}).thresholds.by_class == pytest.approx((1.0, 1.0, 0.3996))


def test_a_band_is_said_outright_and_never_upside_down() -> None:
    found = overridden(PLAIN, {"unsure_low": 0.3, "unsure_high": 0.7}).thresholds
    assert (found.unsure_low, found.unsure_high, found.defect) == (0.3, 0.7, 0.5)
    none = overridden(PLAIN, {"unsure_low": 0.8}).thresholds
    assert none.unsure_low == none.unsure_high == 0.8


def test_only_thresholds_are_taken_out_of_settings() -> None:
    assert overrides({"threshold.defect": 0.3, "capture.byte_budget": 5}) == {"defect": 0.3}


def test_a_change_holds_from_the_next_frame_on_and_marks_answers_to_repeat() -> None:
    engine, judging = Engine.from_bytes(tiny_engine(metadata=replace(PLAIN))), Judging()
    assert judging.of(engine) is engine.judge
    judging.change({"defect": 0.25})
    first, mark = judging.of(engine), judging.mark
    assert first.one([0.7, 0.3], 0.0)[0] is Verdict.DEFECT
    assert judging.of(engine) is first  # made once
    judging.change({})
    assert judging.of(engine) is engine.judge
    assert judging.mark != mark
