"""Day one: an inspection that has seen ok frames alone, through the exported engine."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edge_client.contract.decision import Verdict, decide
from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.onnx_check import check_onnx
from training.anomaly import TooFewOkFrames
from training.fit import Challenger, FitRequest, fit
from training.predict import run_engine

ONLY_OK = (ClassInfo(name="ok", kind=Kind.OK),)
Picture = Callable[..., np.ndarray]
Request = Callable[..., FitRequest]


def verdicts(challenger: Challenger, frames: list[np.ndarray]) -> list[Verdict]:
    answers = run_engine(challenger.engine, frames)
    return decide(answers.probabilities, answers.anomaly, challenger.metadata)


def test_fresh_ok_frames_pass_at_the_rate_that_was_promised_and_defects_are_rejected(
    make_request: Request, make_picture: Picture
) -> None:
    challenger = fit(make_request([0] * 120, classes=ONLY_OK, alarm_rate=0.05))
    check_onnx(challenger.engine)
    passing = challenger.alarms
    assert passing is not None
    assert passing.kept
    fresh = verdicts(challenger, [make_picture(20_000 + i, 0) for i in range(400)])
    alarms = fresh.count(Verdict.DEFECT) / len(fresh)
    # The interval is about the share of all frames; 400 of them stray from it by their own standard error.
    slack = 2 * np.sqrt(passing.value * (1 - passing.value) / 400)
    assert passing.low - slack <= alarms <= passing.high + slack
    assert Verdict.UNSURE not in fresh
    spots = verdicts(challenger, [make_picture(30_000 + i, 1) for i in range(60)])
    assert spots.count(Verdict.DEFECT) >= 54


def test_the_record_says_what_the_threshold_promises(make_request: Request) -> None:
    challenger = fit(make_request([0] * 30, classes=ONLY_OK))
    metrics = challenger.metrics
    assert metrics["anomaly_held_out"] == 30
    assert metrics["anomaly_alarm_rate"] == pytest.approx(1 / 31)
    assert (
        metrics["anomaly_alarm_rate_low"]
        < 1 / 31
        < metrics["anomaly_alarm_rate_high"]
        == pytest.approx(0.1157, abs=1e-4)
    )
    assert metrics["anomaly_alarm_rate_kept"] == 0.0
    assert str(challenger.alarms).endswith("n = 30: so few cannot promise 1 %, which takes 99 ok frames")


def test_four_frames_are_enough_to_begin_and_say_how_little_they_promise(
    make_request: Request, make_picture: Picture
) -> None:
    challenger = fit(make_request([0] * 4, classes=ONLY_OK))
    assert challenger.alarms is not None
    assert challenger.alarms.value == pytest.approx(0.2)
    assert challenger.alarms.high == pytest.approx(0.602, abs=1e-3)
    spots = verdicts(challenger, [make_picture(30_000 + i, 1) for i in range(20)])
    assert spots.count(Verdict.DEFECT) >= 15
    with pytest.raises(TooFewOkFrames, match="has 3 ok frames"):
        fit(make_request([0] * 3, classes=ONLY_OK))


def test_frames_of_one_group_alone_give_an_engine(make_request: Request, make_picture: Picture) -> None:
    request = make_request([0] * 40, classes=ONLY_OK, alarm_rate=0.1)
    lot = replace(request.examples, groups=np.array(["lot"] * 40))
    challenger = fit(replace(request, examples=lot))
    fresh = verdicts(challenger, [make_picture(20_000 + i, 0) for i in range(100)])
    assert fresh.count(Verdict.DEFECT) <= 25


def test_one_image_again_and_again_is_refused_by_name(make_request: Request) -> None:
    request = make_request([0] * 12, classes=ONLY_OK)
    same = replace(request, patches=np.repeat(request.patches[:1], 12, axis=0))
    with pytest.raises(TooFewOkFrames, match=r"12 ok frames.*all one image.*different parts"):
        fit(same)
