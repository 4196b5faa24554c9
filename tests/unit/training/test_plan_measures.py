import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.goal import Costs, Goal, PlanMeasure
from training.plan_measures import WORDS, Answers, plan_measures

CLASSES = (
    ClassInfo(name="ok", kind=Kind.OK),
    ClassInfo(name="dent", kind=Kind.DEFECT),
    ClassInfo(name="crack", kind=Kind.DEFECT),
)


def answers(n: int = 300) -> Answers:
    random = np.random.default_rng(0)
    labels = random.choice(3, n, p=[0.7, 0.2, 0.1])
    odds = random.random((n, 3)) + np.eye(3)[labels] * 0.8
    return Answers(
        probabilities=odds / odds.sum(axis=1, keepdims=True),
        labels=labels,
        prior=np.full(3, 1 / 3),
        frames=random.integers(1, 5, n).astype(float),
    )


def value(goal: Goal, given: Answers) -> float:
    return float(plan_measures(goal, CLASSES, given, np.ones((1, len(given.labels))))[0])


def test_average_precisions_and_balanced_accuracy_are_scikit_learns() -> None:
    given = answers()
    each = [average_precision_score(given.labels == c, given.probabilities[:, c]) for c in (1, 2)]
    assert value(Goal(), given) == pytest.approx(np.mean(each))
    assert value(Goal(measure=PlanMeasure.WORST_CLASS_AVERAGE_PRECISION), given) == pytest.approx(min(each))
    guess = given.probabilities.argmax(axis=1)
    accuracy = balanced_accuracy_score(given.labels, guess)
    assert value(Goal(measure=PlanMeasure.BALANCED_ACCURACY), given) == pytest.approx(accuracy)


def test_the_recall_is_that_of_defects_above_the_share_of_ok_frames() -> None:
    given = answers()
    score, bad = given.probabilities[:, 1:].sum(axis=1), given.labels > 0
    goal = Goal(measure=PlanMeasure.RECALL_AT_FALSE_ALARMS, false_alarm_share=0.1)
    best = max(
        np.average(score[bad] >= t, weights=given.frames[bad])
        for t in score
        if np.average(score[~bad] >= t, weights=given.frames[~bad]) <= 0.1
    )
    assert value(goal, given) == pytest.approx(best, abs=0.02)


def test_the_expected_cost_is_negative_and_counts_the_frames_that_examples_stand_for() -> None:
    given = answers()
    goal = Goal(measure=PlanMeasure.EXPECTED_COST, costs=Costs(escape=10.0))
    rejected = given.probabilities[:, 1:].sum(axis=1) >= 1 / 11
    cost = np.where(rejected, given.labels == 0, 10.0 * (given.labels > 0))
    assert value(goal, given) == pytest.approx(-np.average(cost, weights=given.frames))


@pytest.mark.parametrize("measure", list(PlanMeasure))
def test_a_count_of_two_is_the_row_twice(measure: PlanMeasure) -> None:
    given = answers(60)
    goal = Goal(measure=measure, costs=Costs(escape=10.0))
    counts = np.random.default_rng(1).integers(1, 3, 60)
    rows = np.repeat(np.arange(60), counts)
    twice = Answers(
        probabilities=given.probabilities[rows],
        labels=given.labels[rows],
        prior=given.prior,
        frames=given.frames[rows],
    )
    counted = plan_measures(goal, CLASSES, given, counts[None, :].astype(float))[0]
    assert counted == pytest.approx(value(goal, twice))
    assert measure in WORDS
