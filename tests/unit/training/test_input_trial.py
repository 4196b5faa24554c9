"""When an input choice is recommended, and when it is not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.examples import FACTORY, FIELD, Examples
from training.goal import Goal, PlanMeasure
from training.input_choice import InputChoice
from training.input_trial import (
    LEAST_OF_A_CLASS,
    Tried,
    compare,
    pick_frames,
    region_candidates,
    usual_candidates,
)
from training.plans import judged_rows

CLASSES = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="crack", kind=Kind.DEFECT))
TODAY = InputChoice()


def examples_of(labels: NDArray[np.int64], *, field: int = 0) -> Examples:
    names = np.array([f"s{i}" for i in range(len(labels))])
    return Examples(
        ids=names,
        labels=labels,
        groups=names,
        origin=np.array([FIELD] * field + [FACTORY] * (len(labels) - field)),
        probability=np.array([0.5] * field + [np.nan] * (len(labels) - field)),
        device=names,
        station=names,
        features=np.zeros((len(labels), 0), dtype=np.float32),
    )


def says(labels: NDArray[np.int64], shift: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Probabilities whose logit for a defect is so much higher than for ok, with noise of one."""
    p = 1 / (1 + np.exp(-(labels * shift + random.normal(size=len(labels)) - 2)))
    return np.stack([1 - p, p], axis=1)


def tried(choice: InputChoice, probabilities: NDArray[np.float64], ms: float = 2.0) -> Tried:
    return Tried(choice=choice, variant="fp32", probabilities=probabilities, ms=ms, engine_bytes=1_000_000)


def test_a_real_gain_is_recommended_with_what_it_costs_and_a_loss_is_not() -> None:
    random = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 1] * 100)
    fine, coarse = InputChoice(tiles=(2, 2)), InputChoice(side=160)
    found = compare(
        [
            tried(TODAY, says(labels, 1.5, random)),
            tried(fine, says(labels, 3.5, random), 8.0),
            tried(coarse, says(labels, 0.5, random), 1.0),
        ],
        examples_of(labels),
        CLASSES,
        Goal(),
        of=900,
        seed=0,
    )
    assert found.recommended == fine
    assert found.today.difference is None
    gap, loss = found.row_of(fine).difference, found.row_of(coarse).difference
    assert gap is not None
    assert loss is not None
    assert 0 < gap.low < gap.value < gap.high
    assert loss.high < 0
    assert gap.value == pytest.approx(found.row_of(fine).measure.value - found.today.measure.value)
    assert (found.frames, found.of, found.row_of(fine).ms) == (400, 900, 8.0)


def test_of_two_that_pay_alike_the_cheaper_one_is_recommended() -> None:
    random = np.random.default_rng(1)
    labels = np.array([0, 0, 0, 1] * 100)
    good = says(labels, 3.5, random)
    dear, cheap = InputChoice(tiles=(2, 2)), InputChoice(side=320)
    nearly = np.clip(good + random.normal(0, 1e-3, good.shape), 0, 1)
    rows = [tried(TODAY, says(labels, 1.0, random)), tried(dear, good, 8.0), tried(cheap, nearly, 4.0)]
    assert compare(rows, examples_of(labels), CLASSES, Goal(), of=400, seed=0).recommended == cheap


def test_without_a_difference_few_trials_of_many_candidates_recommend_one() -> None:
    # Five candidates that are all alike: 95 % intervals hold for all of them together, so at most 5 % of the trials
    # recommend one, and three standard errors of chance. With intervals for each alone it is 10 %.
    random = np.random.default_rng(2)
    trials, wrong = 100, 0
    candidates = [InputChoice(side=32 * k) for k in range(1, 6)]
    for _ in range(trials):
        labels = np.array([0, 0, 1] * 40)
        rows = [tried(choice, says(labels, 1.5, random)) for choice in (TODAY, *candidates)]
        found = compare(rows, examples_of(labels), CLASSES, Goal(), of=120, seed=0, resamples=80)
        wrong += found.recommended is not None
    level = 0.05
    assert wrong / trials <= level + 3 * np.sqrt(level * (1 - level) / trials)


def test_a_choice_that_answers_as_today_is_no_difference() -> None:
    labels = np.array([0, 1] * 30)
    same = says(labels, 2.0, np.random.default_rng(0))
    found = compare(
        [tried(TODAY, same), tried(InputChoice(side=320), same)], examples_of(labels), CLASSES, Goal(), of=60, seed=0
    )
    gap = found.rows[1].difference
    assert gap is not None
    assert (gap.value, gap.low, gap.high) == (0.0, 0.0, 0.0)
    assert found.recommended is None


def test_the_inspections_own_measure_decides() -> None:
    labels = np.array([0, 1] * 50)
    better = says(labels, 3.0, np.random.default_rng(0))
    found = compare(
        [tried(TODAY, says(labels, 3.0, np.random.default_rng(1))), tried(InputChoice(side=320), better)],
        examples_of(labels),
        CLASSES,
        Goal(measure=PlanMeasure.BALANCED_ACCURACY),
        of=100,
        seed=0,
    )
    assert found.measure == "balanced accuracy"


def test_the_field_alone_judges_once_there_is_enough_of_it() -> None:
    labels = np.array([0, 1] * 40)
    assert judged_rows(examples_of(labels, field=8), CLASSES).all()
    assert judged_rows(examples_of(labels, field=30), CLASSES).sum() == 30


def test_rare_defects_are_not_left_out_of_the_frames_that_are_picked() -> None:
    labels = np.array([0] * 5000 + [1] * 40 + [2] * 400)
    names = [f"{i:x}" for i in range(len(labels))]
    picked = pick_frames(labels, names, 600)
    counts = np.bincount(labels[picked])
    assert len(picked) <= 600
    assert len(picked) > 590
    assert counts[1] >= LEAST_OF_A_CLASS
    assert counts[0] > 8 * counts[2]
    assert (picked == pick_frames(labels, names, 600)).all()
    assert len(pick_frames(labels[:50], names[:50], 600)) == 50


def test_one_thing_at_a_time_is_changed() -> None:
    found = usual_candidates(TODAY, backbones=["efficientnet-lite0", "efficientnet-lite2"])
    assert [str(choice) for choice in found] == [
        "efficientnet-lite0@160",
        "efficientnet-lite0@320",
        "efficientnet-lite2@224",
        "efficientnet-lite0@224/2x2",
        "efficientnet-lite0@224/views=2",
    ]
    region = (0.2, 0.2, 0.8, 0.8)
    assert [str(choice) for choice in region_candidates(TODAY, region)] == [
        "efficientnet-lite0@224/region=0.2,0.2,0.8,0.8",
        "efficientnet-lite0@224/2x2/region=0.2,0.2,0.8,0.8",
    ]
    assert len(region_candidates(InputChoice(region=region), region)) == 1
    tiled = usual_candidates(InputChoice(tiles=(2, 2), overlap=0.25))
    assert "efficientnet-lite0@224" in [str(choice) for choice in tiled]
    turned = usual_candidates(InputChoice(views=2))
    assert "efficientnet-lite0@224" in [str(choice) for choice in turned]
