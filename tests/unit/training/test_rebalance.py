import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.rebalance import Rebalance, rebalance


def rows(counts: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).normal(labels[:, None], 1, (len(labels), 3)).astype(np.float32), labels


@given(
    how=st.sampled_from(list(Rebalance)),
    counts=st.lists(st.integers(min_value=0, max_value=12), min_size=2, max_size=4).filter(
        lambda c: sum(x > 0 for x in c) > 1
    ),
)
@settings(max_examples=60, deadline=None)
def test_every_choice_takes_any_counts_even_one_or_none(how: Rebalance, counts: list[int]) -> None:
    coordinates, labels = rows(counts)
    data = rebalance(how, coordinates, labels, np.ones(len(labels)), classes=len(counts), seed=0)
    assert len(data.coordinates) == len(data.labels) == len(data.weight) > 0
    assert set(data.labels.tolist()) == set(labels.tolist())
    assert np.isfinite(data.coordinates).all()
    assert data.weight.sum() == pytest.approx(len(labels))
    assert (data.weight > 0).all()
    assert data.prior.sum() == pytest.approx(1)
    assert ((data.prior > 0) == (np.array(counts) > 0)).all()


EVENING = [
    Rebalance.CLASS_WEIGHTS,
    Rebalance.BALANCED_SAMPLER,
    Rebalance.OVER_SAMPLING,
    Rebalance.UNDER_SAMPLING,
    Rebalance.SMOTE,
    Rebalance.BORDERLINE_SMOTE,
    Rebalance.SMOTE_ENN,
    Rebalance.FOCAL,
]


@pytest.mark.parametrize("how", EVENING)
def test_classes_weigh_the_same_even_when_field_examples_count_more(how: Rebalance) -> None:
    coordinates, labels = rows([30, 5, 1])
    weight = np.where(np.arange(36) % 2 == 0, 5.0, 1.0)
    data = rebalance(how, coordinates, labels, weight, classes=3, seed=0)
    mass = np.bincount(data.labels, weights=data.weight)
    np.testing.assert_allclose(mass / mass.sum(), 1 / 3, rtol=1e-6)
    assert data.prior.tolist() == pytest.approx([1 / 3] * 3)


def test_the_sampler_draws_as_many_of_each_class_and_heavy_examples_more_often() -> None:
    coordinates, labels = rows([300, 30, 6])
    weight = np.where(np.arange(336) < 100, 10.0, 1.0)
    data = rebalance(Rebalance.BALANCED_SAMPLER, coordinates, labels, weight, classes=3, seed=0)
    assert np.bincount(data.labels).tolist() == [112, 112, 112]
    heavy = {tuple(row) for row in coordinates[:100].tolist()}
    share = np.mean([tuple(row) in heavy for row in data.coordinates[data.labels == 0].tolist()])
    assert share == pytest.approx(1000 / 1200, abs=0.11)  # three standard errors of 112 draws


def test_over_sampling_repeats_and_under_sampling_leaves_out() -> None:
    coordinates, labels = rows([40, 20, 15])
    over = rebalance(Rebalance.OVER_SAMPLING, coordinates, labels, np.ones(75), classes=3, seed=0)
    assert (over.coordinates == coordinates).all()
    times = over.weight[labels == 2] / over.weight[labels == 0][0]
    assert times.sum() == pytest.approx(40)  # as if the 15 were 40 rows, each a whole number of times
    np.testing.assert_allclose(times, times.round())
    under = rebalance(Rebalance.UNDER_SAMPLING, coordinates, labels, np.ones(75), classes=3, seed=0)
    assert np.bincount(under.labels).tolist() == [15, 15, 15]


def test_under_sampling_beside_a_class_of_one_keeps_ten_of_the_others_and_says_so() -> None:
    coordinates, labels = rows([40, 1])
    data = rebalance(Rebalance.UNDER_SAMPLING, coordinates, labels, np.ones(41), classes=2, seed=0)
    assert np.bincount(data.labels).tolist() == [10, 1]
    assert [(f.label, f.what) for f in data.fallbacks] == [(1, "has 1: other classes keep 10 and weigh as much")]


def test_smote_makes_new_points_between_old_ones_of_the_class() -> None:
    coordinates, labels = rows([60, 8])
    data = rebalance(Rebalance.SMOTE, coordinates, labels, np.ones(68), classes=2, seed=0)
    assert np.bincount(data.labels).tolist() == [60, 40]  # five times its size
    made = data.coordinates[68:]
    own = coordinates[labels == 1]
    assert ((made >= own.min(axis=0)) & (made <= own.max(axis=0))).all()
    assert not {tuple(row) for row in made.tolist()} & {tuple(row) for row in coordinates.tolist()}


def test_borderline_smote_makes_points_only_beside_other_classes() -> None:
    random = np.random.default_rng(0)
    ok = random.normal(0, 1, (80, 2))
    far, near = random.normal(12, 0.3, (12, 2)), random.normal(2.2, 0.3, (6, 2))
    coordinates = np.concatenate([ok, far, near]).astype(np.float32)
    labels = np.repeat([0, 1], [80, 18])
    plain = rebalance(Rebalance.SMOTE, coordinates, labels, np.ones(98), classes=2, seed=0).coordinates[98:]
    border = rebalance(Rebalance.BORDERLINE_SMOTE, coordinates, labels, np.ones(98), classes=2, seed=0).coordinates[98:]
    assert (plain.min(axis=1) > 10).mean() > 0.3
    assert len(border)
    assert (border.min(axis=1) > 10).mean() < 0.1


def test_smote_enn_leaves_out_what_its_neighbours_contradict() -> None:
    random = np.random.default_rng(0)
    coordinates = random.normal(0, 1, (100, 2)).astype(np.float32)
    labels = np.repeat([0, 1], [80, 20])
    coordinates[labels == 1] += 6
    coordinates[0] = 6  # an ok example among the defects
    data = rebalance(Rebalance.SMOTE_ENN, coordinates, labels, np.ones(100), classes=2, seed=0)
    assert not ((data.labels == 0) & (data.coordinates.min(axis=1) > 5)).any()
    assert (data.labels == 0).sum() > 60


def test_a_class_of_one_is_repeated_and_one_that_editing_would_take_away_stays() -> None:
    coordinates, labels = rows([30, 1])
    coordinates[30] = coordinates[:30].mean(axis=0)  # amid the others
    smote = rebalance(Rebalance.SMOTE, coordinates, labels, np.ones(31), classes=2, seed=0)
    assert [f.what for f in smote.fallbacks] == ["has one example: it is repeated"]
    labels = np.repeat([0, 1], [900, 2])
    coordinates = np.random.default_rng(0).random((902, 2)).astype(np.float32)
    coordinates[900:] = [[0.05, 0.05], [0.95, 0.95]]  # at two ends of a dense square
    edited = rebalance(Rebalance.SMOTE_ENN, coordinates, labels, np.ones(902), classes=2, seed=0)
    assert (edited.labels == 1).any()
    assert "would be edited away: it stays" in [f.what for f in edited.fallbacks]


def test_logit_adjustment_offsets_by_log_shares_and_leaves_weights_alone() -> None:
    coordinates, labels = rows([30, 10])
    data = rebalance(Rebalance.LOGIT_ADJUSTMENT, coordinates, labels, np.ones(40), classes=2, seed=0)
    np.testing.assert_allclose(data.offset, np.log([0.75, 0.25]))
    assert (data.weight == 1).all()
    assert data.prior.tolist() == [0.5, 0.5]


def test_none_speaks_for_the_shares_it_was_given() -> None:
    coordinates, labels = rows([30, 10])
    assert rebalance(Rebalance.NONE, coordinates, labels, np.ones(40), classes=2, seed=0).prior.tolist() == [0.75, 0.25]


def test_balanced_softmax_goes_by_counts_and_knows_for_which_shares_its_logits_speak() -> None:
    coordinates, labels = rows([30, 10])
    weight = np.where(labels == 1, 3.0, 1.0)
    data = rebalance(Rebalance.BALANCED_SOFTMAX, coordinates, labels, weight, classes=2, seed=0)
    np.testing.assert_allclose(data.offset, np.log([0.75, 0.25]))
    np.testing.assert_allclose(data.prior, [0.25, 0.75])


def test_post_hoc_adjustment_fits_as_none_and_takes_the_shares_off_afterwards() -> None:
    coordinates, labels = rows([30, 10])
    data = rebalance(Rebalance.LOGIT_ADJUSTMENT_POST_HOC, coordinates, labels, np.ones(40), classes=2, seed=0)
    assert not data.offset.any()
    np.testing.assert_allclose(data.adjustment, np.log([0.75, 0.25]))


def test_re_training_sees_every_example_first_and_balanced_draws_second() -> None:
    coordinates, labels = rows([30, 10])
    data = rebalance(Rebalance.CRT, coordinates, labels, np.ones(40), classes=2, seed=0)
    assert np.bincount(data.labels).tolist() == [30, 10]
    assert data.second is not None
    assert np.bincount(data.second.labels).tolist() == [20, 20]
