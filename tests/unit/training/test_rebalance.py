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
    assert len(data.coordinates) == len(data.labels) == len(data.weight) >= len(labels)
    assert np.isfinite(data.coordinates).all()
    assert data.weight.mean() == pytest.approx(1)
    assert (data.weight > 0).all()
    assert data.prior.sum() == pytest.approx(1)
    assert ((data.prior > 0) == (np.array(counts) > 0)).all()


@pytest.mark.parametrize("how", [Rebalance.CLASS_WEIGHTS, Rebalance.BALANCED_SAMPLER, Rebalance.SMOTE])
def test_classes_weigh_the_same_even_when_field_examples_count_more(how: Rebalance) -> None:
    coordinates, labels = rows([30, 5, 1])
    weight = np.where(np.arange(36) % 2 == 0, 5.0, 1.0)
    data = rebalance(how, coordinates, labels, weight, classes=3, seed=0)
    mass = np.bincount(data.labels, weights=data.weight)
    np.testing.assert_allclose(mass / mass.sum(), 1 / 3, rtol=1e-6)
    assert data.prior.tolist() == pytest.approx([1 / 3] * 3)


def test_sampler_and_smote_even_out_the_counts() -> None:
    coordinates, labels = rows([30, 5, 1])
    for how in (Rebalance.BALANCED_SAMPLER, Rebalance.SMOTE):
        data = rebalance(how, coordinates, labels, np.ones(36), classes=3, seed=0)
        assert np.bincount(data.labels).tolist() == [30, 30, 30]


def test_smote_makes_new_points_and_the_sampler_does_not() -> None:
    coordinates, labels = rows([30, 5])
    known = {tuple(row) for row in coordinates.tolist()}
    made = rebalance(Rebalance.SMOTE, coordinates, labels, np.ones(35), classes=2, seed=0)
    drawn = rebalance(Rebalance.BALANCED_SAMPLER, coordinates, labels, np.ones(35), classes=2, seed=0)
    assert len({tuple(row) for row in made.coordinates.tolist()} - known) == 25
    assert {tuple(row) for row in drawn.coordinates.tolist()} <= known


def test_logit_adjustment_offsets_by_log_shares_and_leaves_weights_alone() -> None:
    coordinates, labels = rows([30, 10])
    data = rebalance(Rebalance.LOGIT_ADJUSTMENT, coordinates, labels, np.ones(40), classes=2, seed=0)
    np.testing.assert_allclose(data.offset, np.log([0.75, 0.25]))
    assert (data.weight == 1).all()
    assert data.prior.tolist() == [0.5, 0.5]


def test_none_speaks_for_the_shares_it_was_given() -> None:
    coordinates, labels = rows([30, 10])
    assert rebalance(Rebalance.NONE, coordinates, labels, np.ones(40), classes=2, seed=0).prior.tolist() == [0.75, 0.25]
