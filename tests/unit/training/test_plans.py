from dataclasses import replace

import numpy as np
import pytest

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.examples import BadExamples, Examples
from training.goal import Costs, Goal, PlanMeasure
from training.plan_measures import WORDS
from training.plans import DEFAULT, Plan, choose_plan, distinct, train_head
from training.prior import target_prior
from training.rebalance import IN_THE_LOSS, Rebalance

CLASSES = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="defect", kind=Kind.DEFECT))


def examples(n: int, *, field: int = 0, separation: float = 2.0, seed: int = 0, shift: float = 0.0) -> Examples:
    random = np.random.default_rng(seed)
    labels = (np.arange(n) % 4 == 0).astype(np.int64)
    features = random.normal(0, 1, (n, 30))
    features[:, 0] += separation * labels
    origin = np.array(["factory"] * (n - field) + ["field"] * field)
    features[n - field :] += shift
    names = np.array([f"s{i}" for i in range(n)])
    return Examples(
        ids=names,
        labels=labels,
        groups=names,
        origin=origin,
        probability=np.where(origin == "field", 0.5, np.nan),
        device=names,
        station=names,
        features=features.astype(np.float32),
    )


def nothing(data: Examples) -> np.ndarray:
    return np.ones(len(data), dtype=np.float32)


def test_every_rebalancing_is_tried_and_the_table_says_by_what_measure() -> None:
    data = examples(120, field=60)
    chosen = choose_plan(data, CLASSES, 0, anomaly=nothing(data))
    assert {row.plan.rebalance for row in chosen.table} == set(distinct(2))
    assert chosen.table[0].plan == chosen.plan or chosen.plan == DEFAULT
    assert chosen.measure == "mean defect average precision, out of fold, on 60 field examples"
    assert chosen.oof.shape == (120, 2)


def test_few_candidates_come_to_the_second_deal_and_only_those_can_be_chosen() -> None:
    data = examples(120, field=60)
    chosen = choose_plan(data, CLASSES, 0, anomaly=nothing(data))
    deals = [len(row.repeats) for row in chosen.table]
    assert deals == sorted(deals, reverse=True)
    assert 2 <= deals.count(2) <= 13
    assert len(next(row for row in chosen.table if row.plan == chosen.plan).repeats) == 2


def test_plans_that_find_one_head_are_tried_once_and_named() -> None:
    adjusting = {Rebalance.BALANCED_SOFTMAX, Rebalance.LOGIT_ADJUSTMENT, Rebalance.LOGIT_ADJUSTMENT_POST_HOC}
    assert set(distinct(3)) == set(Rebalance) - adjusting
    assert set(distinct(2)) == set(distinct(3)) - {Rebalance.CRT}
    data = examples(120, field=60)
    tried = [
        choose_plan(data, CLASSES, 0, anomaly=nothing(data), plans=[replace(DEFAULT, rebalance=how)])
        for how in (Rebalance.NONE, *adjusting)
    ]
    margins = [one.oof[:, 1] - one.oof[:, 0] for one in tried]
    assert min(np.corrcoef(margins)[0]) > 0.999
    scores = [one.table[0].score for one in tried]
    assert max(scores) - min(scores) < 0.01
    assert "stands for balanced_softmax" in tried[0].table[0].note


@pytest.mark.parametrize("few", [1, 2, 5, 10])
def test_every_plan_takes_a_class_of_so_few_and_says_what_it_did_instead(few: int) -> None:
    three = (*CLASSES, ClassInfo(name="crack", kind=Kind.DEFECT))
    data = examples(60)
    new = examples(few, seed=5)
    labels = np.concatenate([data.labels, np.full(few, 2)])
    both = Examples(
        ids=np.array([f"s{i}" for i in range(60 + few)]),
        labels=labels,
        features=np.concatenate([data.features, new.features + 3]),
        **{
            name: np.concatenate([getattr(data, name), getattr(new, name)])
            for name in ("origin", "probability", "device", "station")
        },
        groups=np.array([f"s{i}" for i in range(60 + few)]),
    )
    for how in Rebalance:
        chosen = choose_plan(both, three, 0, anomaly=nothing(both), plans=[replace(DEFAULT, rebalance=how)])
        head = train_head(both, chosen, classes=3, seed=0) if how not in IN_THE_LOSS else None
        assert np.isfinite(chosen.oof).all()
        assert head is None or np.isfinite(head.weights).all()
        if few == 1 and how is Rebalance.SMOTE:
            assert "crack has one example: it is repeated" in chosen.table[0].note


@pytest.mark.parametrize("measure", list(PlanMeasure))
def test_plans_are_compared_by_the_measure_that_is_asked_for(measure: PlanMeasure) -> None:
    data = examples(120)
    goal = Goal(measure=measure, costs=Costs(escape=20.0))
    shy = replace(DEFAULT, regularisation=1e-7)
    chosen = choose_plan(data, CLASSES, 0, anomaly=nothing(data), plans=[shy, DEFAULT], goal=goal)
    assert chosen.measure.startswith(WORDS[measure])
    assert all((row.score <= 0) == (measure is PlanMeasure.EXPECTED_COST) for row in chosen.table)


def test_out_of_fold_answers_line_up_with_the_examples() -> None:
    data = examples(160, separation=6.0)
    chosen = choose_plan(data, CLASSES, 0, anomaly=nothing(data), plans=[DEFAULT])
    right = chosen.oof.argmax(axis=1) == data.labels
    assert right.mean() > 0.9
    order = np.random.default_rng(0).permutation(160)
    shuffled = choose_plan(data.select(order), CLASSES, 0, anomaly=nothing(data), plans=[DEFAULT])
    assert (shuffled.oof.argmax(axis=1) == data.labels[order]).mean() > 0.9


def test_no_example_is_predicted_by_a_head_that_saw_its_group() -> None:
    # Labels at random, but twins share one label and one group: only leaking twins could make them predictable.
    random = np.random.default_rng(0)
    half = examples(100, separation=0.0)
    half = replace(half, labels=random.integers(0, 2, 100))
    names = np.array([f"{i}{side}" for side in "ab" for i in range(100)])
    twins = Examples(
        ids=names,
        groups=np.concatenate([half.groups, half.groups]),
        **{
            key: np.concatenate([getattr(half, key)] * 2)
            for key in ("labels", "origin", "probability", "device", "station", "features")
        },
    )
    plan = Plan(rebalance=Rebalance.CLASS_WEIGHTS, regularisation=10.0, field_weight=1.0)
    fair = choose_plan(twins, CLASSES, 0, anomaly=nothing(twins), plans=[plan])
    leaking = choose_plan(replace(twins, groups=names), CLASSES, 0, anomaly=nothing(twins), plans=[plan])
    # Chance is 0.5; the standard error of an average precision of 100 independent labels is about 0.07.
    assert fair.table[0].score < 0.5 + 3 * 0.07 < leaking.table[0].score


def test_the_default_stays_unless_another_plan_is_clearly_better() -> None:
    same = [replace(DEFAULT, field_weight=w) for w in (1.0, 3.0, 8.0)]  # no field examples: no difference
    clear = examples(120)
    assert choose_plan(clear, CLASSES, 0, anomaly=nothing(clear), plans=same).plan == DEFAULT
    # One strong direction among noise that a head this shy cannot turn to.
    hard = examples(400, separation=2.0)
    timid = [DEFAULT, replace(DEFAULT, regularisation=1e-7)]
    chosen = choose_plan(hard, CLASSES, 0, anomaly=nothing(hard), plans=timid)
    assert chosen.plan == max(chosen.table, key=lambda row: row.score).plan


def test_captured_frames_without_labels_set_the_scale_after_a_product_change() -> None:
    data = examples(120, field=20, shift=5.0)
    unlabelled = examples(200, field=200, shift=5.0, seed=1).features
    with_them = choose_plan(data, CLASSES, 0, anomaly=nothing(data), unlabelled=unlabelled, plans=[DEFAULT]).space
    without = choose_plan(data, CLASSES, 0, anomaly=nothing(data), plans=[DEFAULT]).space
    assert with_them.mean.mean() == pytest.approx(2.5, abs=0.1)  # half of each world
    assert without.mean.mean() == pytest.approx(1.0, abs=0.2)  # twenty frames count for a fifth


def test_the_head_over_raw_features_is_the_head_over_coordinates() -> None:
    data = examples(80)
    score = np.random.default_rng(0).random(80).astype(np.float32) * 4
    chosen = choose_plan(data, CLASSES, 0, anomaly=score, plans=[DEFAULT])
    head = train_head(data, chosen, classes=2, seed=0)
    raw = chosen.space.to_features(head.weights, head.bias)
    logits = data.features @ raw.weights + np.minimum(score, 3.0)[:, None] * raw.anomaly_weights + raw.bias
    np.testing.assert_allclose(logits, head.logits(chosen.space.project(data.features, score)), atol=1e-3)


def test_the_field_prior_is_weighed_by_inclusion_probabilities() -> None:
    data = examples(4000, field=4000)
    # Defects were drawn four times as readily as the rest: 1,000 of 1,250 expected.
    probability = np.where(data.labels == 1, 1.0, 0.25)
    prior = target_prior(replace(data, probability=probability), 2)
    assert prior[1] == pytest.approx(1000 / 13000, abs=0.01)


def test_unlabelled_frames_stand_in_for_the_factory_and_labels_overrule_them() -> None:
    seen = np.array([0.98, 0.02])
    factory = examples(400)
    assert target_prior(factory, 2)[1] == pytest.approx(0.25)
    assert target_prior(factory, 2, seen=seen)[1] == pytest.approx(0.02)
    labelled = examples(2000, field=2000)
    assert target_prior(labelled, 2, seen=seen)[1] == pytest.approx(0.25, abs=0.01)


def test_examples_whose_columns_disagree_are_refused_by_name() -> None:
    good = examples(10)
    with pytest.raises(BadExamples, match="10 ids and 9 labels"):
        replace(good, labels=good.labels[:9])
    with pytest.raises(BadExamples, match="different ones"):
        replace(good, ids=np.array(["same"] * 10))
    with pytest.raises(BadExamples, match="origin"):
        replace(good, origin=np.array(["shop"] * 10))
