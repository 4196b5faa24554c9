from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edge_client.contract.decision import Verdict, decide
from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.onnx_check import check_onnx
from edge_client.contract.selftest import SelfTest
from flows.champion import metadata_of
from training.anomaly import TooFewOkFrames
from training.examples import BadExamples
from training.fit import Challenger, FitRequest, fit
from training.goal import Costs, Goal
from training.label_shift import FieldFrames
from training.plans import DEFAULT, Plan
from training.predict import run_engine
from training.rebalance import Rebalance
from training.trunk import Trunk

THREE = (
    ClassInfo(name="ok", kind=Kind.OK),
    ClassInfo(name="spot", kind=Kind.DEFECT),
    ClassInfo(name="stripe", kind=Kind.DEFECT),
)
ONLY_OK = (ClassInfo(name="ok", kind=Kind.OK),)
Picture = Callable[..., np.ndarray]


def test_the_same_request_gives_the_same_bytes(request_of_two_classes: FitRequest, challenger: Challenger) -> None:
    one, two = challenger, fit(request_of_two_classes)
    assert one.engine == two.engine
    assert one.selftest == two.selftest
    assert one.oof.tobytes() == two.oof.tobytes()
    assert one.metrics == two.metrics
    other = fit(replace(request_of_two_classes, seed=1))
    assert other.metadata.engine_id != one.metadata.engine_id


def test_the_engine_tells_spots_from_none_and_says_so_out_of_fold_too(
    request_of_two_classes: FitRequest, challenger: Challenger, make_picture: Picture
) -> None:
    answers = run_engine(challenger.engine, [make_picture(5000 + i, i % 2) for i in range(40)])
    verdicts = decide(answers.probabilities, answers.anomaly, challenger.metadata)
    spots, clean = verdicts[1::2], verdicts[::2]
    assert sum(v is not Verdict.OK for v in spots) >= 18
    assert sum(v is Verdict.DEFECT for v in clean) <= 2
    assert challenger.oof.shape == (80, 2)
    assert challenger.oof_ids.tolist() == request_of_two_classes.examples.ids.tolist()
    assert challenger.metrics["oof_average_precision_all"] > 0.9


def test_the_self_test_is_what_the_engine_answers(challenger: Challenger) -> None:
    selftest = SelfTest.unpack(challenger.selftest)
    answers = run_engine(challenger.engine, list(selftest.frames))
    assert answers.probabilities.tobytes() == selftest.probabilities.tobytes()
    assert answers.anomaly.tobytes() == selftest.anomaly.tobytes()


def test_frames_of_different_sizes_are_brought_to_one_size_for_the_self_test(
    request_of_two_classes: FitRequest, make_picture: Picture
) -> None:
    frames = [make_picture(0, 0, (40, 60)), make_picture(1, 1, (33, 90)), make_picture(2, 0, (500, 400))]
    selftest = SelfTest.unpack(fit(replace(request_of_two_classes, selftest_images=frames)).selftest)
    assert selftest.frames.shape == (3, 33, 33, 3)


def test_ok_frames_alone_give_an_engine_that_judges_by_anomaly(
    make_request: Callable[..., FitRequest], make_picture: Picture
) -> None:
    challenger = fit(make_request([0] * 60, classes=ONLY_OK, alarm_rate=0.05))
    check_onnx(challenger.engine)
    answers = run_engine(challenger.engine, [make_picture(7000 + i, i % 2) for i in range(40)])
    assert (answers.probabilities == 1).all()
    verdicts = decide(answers.probabilities, answers.anomaly, challenger.metadata)
    assert sum(v is Verdict.DEFECT for v in verdicts[1::2]) >= 18
    assert sum(v is Verdict.DEFECT for v in verdicts[::2]) <= 5
    assert challenger.plan is None
    assert challenger.metadata.training_prior == (1.0,)


def test_a_class_with_one_example_is_learnt_as_far_as_it_goes(make_request: Callable[..., FitRequest]) -> None:
    for how in Rebalance:
        plan = replace(DEFAULT, rebalance=how)
        challenger = fit(make_request([0] * 30 + [1] * 12 + [2], classes=THREE, plans=[plan]))
        check_onnx(challenger.engine)
        assert challenger.plan is not None
        assert challenger.plan.plan == plan
        assert challenger.oof.shape == (43, 3)
        np.testing.assert_allclose(challenger.oof.sum(axis=1), 1, atol=1e-5)


def test_stated_costs_reach_the_engine_class_by_class(make_request: Callable[..., FitRequest]) -> None:
    goal = Goal(costs=Costs(escape=9.0, escape_of={"stripe": 99.0}, ask=0.05))
    request = make_request([0] * 30 + [1] * 12 + [2] * 12, classes=THREE, plans=[DEFAULT], goal=goal)
    challenger = fit(request)
    check_onnx(challenger.engine)
    thresholds = metadata_of(challenger.engine).thresholds
    assert thresholds == challenger.metadata.thresholds
    assert thresholds.by_class == pytest.approx((1.0, 0.1, 0.01))
    assert (thresholds.unsure_low, thresholds.unsure_high) == pytest.approx((0.05 / 9, 0.95))


def test_captured_frames_without_a_label_tell_the_fields_class_shares(
    trunk: Trunk, make_request: Callable[..., FitRequest], make_picture: Picture
) -> None:
    frames = trunk.run([make_picture(8000 + i, int(i % 10 == 0)) for i in range(120)])
    field_frames = FieldFrames(
        features=frames.features,
        patches=frames.patches,
        probability=np.full(120, 0.5),
        labels=np.full(120, -1),
    )
    # In the factory half are spots; of the field's 40 labelled frames, four.
    request = make_request([0, 1] * 30 + ([0] * 9 + [1]) * 4, field=40, plans=[DEFAULT])
    without, with_them = fit(request), fit(replace(request, field_frames=field_frames))
    assert with_them.metrics["field_share_believed"] == 1.0
    assert with_them.metrics["field_share_em_spot"] == pytest.approx(0.1, abs=0.06)
    assert without.metadata.training_prior[1] > 0.2 > with_them.metadata.training_prior[1]


def test_a_class_without_any_example_has_an_output_that_stays_near_zero(
    make_request: Callable[..., FitRequest],
) -> None:
    request = make_request([0] * 30 + [1] * 12, classes=THREE, plans=[DEFAULT])
    answers = run_engine(fit(request).engine, list(request.selftest_images))
    assert answers.probabilities.shape == (4, 3)
    assert answers.probabilities[:, 2].max() < 1e-3


def test_field_examples_alone_are_enough(make_request: Callable[..., FitRequest]) -> None:
    challenger = fit(make_request([0, 0, 1] * 12, field=36, plans=[DEFAULT]))
    assert challenger.metrics["field_examples"] == 36


def test_shuffled_labels_are_no_better_than_chance_out_of_fold(
    request_of_two_classes: FitRequest, challenger: Challenger
) -> None:
    examples = request_of_two_classes.examples
    shuffled = replace(examples, labels=np.random.default_rng(0).permutation(examples.labels))
    sabotaged = fit(replace(request_of_two_classes, examples=shuffled, plans=[DEFAULT]))
    assert sabotaged.metrics["oof_average_precision_all"] < 0.5 < challenger.metrics["oof_average_precision_all"]


def test_requests_that_cannot_be_fitted_say_why(
    make_request: Callable[..., FitRequest], request_of_two_classes: FitRequest
) -> None:
    with pytest.raises(BadExamples, match=r"only \['ok'\] of 2 classes have examples"):
        fit(make_request([0] * 20))
    with pytest.raises(BadExamples, match="label 1 has no class"):
        fit(replace(request_of_two_classes, classes=ONLY_OK))
    with pytest.raises(BadExamples, match="80 examples and 5 patch grids"):
        fit(replace(request_of_two_classes, patches=request_of_two_classes.patches[:5]))
    with pytest.raises(BadExamples, match="no frames for the self-test"):
        fit(replace(request_of_two_classes, selftest_images=[]))
    with pytest.raises(TooFewOkFrames):
        fit(make_request([0] * 3, classes=ONLY_OK))
    narrow = replace(request_of_two_classes.examples, features=np.zeros((80, 3), dtype=np.float32))
    with pytest.raises(BadExamples, match="features are 3 wide; expected 16"):
        fit(replace(request_of_two_classes, examples=narrow))


def test_next_to_no_ok_frames_still_give_an_anomaly_score(make_request: Callable[..., FitRequest]) -> None:
    challenger = fit(make_request([0, 1, 1, 1, 1, 1, 1, 0], plans=[DEFAULT]))
    assert challenger.metrics["anomaly_held_out"] == 8


def test_a_plan_names_itself() -> None:
    assert str(Plan(rebalance=Rebalance.SMOTE, regularisation=0.001, field_weight=3)) == "smote C=0.001 field×3"
