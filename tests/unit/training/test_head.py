import numpy as np
import pytest

from training.head import fit_head
from training.lightning_head import fit_heads
from training.rebalance import Rebalance, rebalance


def rows(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = np.eye(len(counts), 6)[labels] * 1.5
    return (np.random.default_rng(0).normal(0, 1, (len(labels), 6)) + centres).astype(np.float32), labels


@pytest.mark.parametrize("counts", [[60, 20], [50, 20, 10]])
def test_lightning_and_scikit_learn_find_the_same_head(counts: list[int]) -> None:
    coordinates, labels = rows(counts)
    data = rebalance(Rebalance.NONE, coordinates, labels, np.ones(len(labels)), classes=len(counts), seed=0)
    ours = fit_heads(coordinates, labels, data.weight[None], np.zeros((1, len(counts))), regularisation=0.5)[0]
    theirs = fit_head(data, regularisation=0.5, classes=len(counts))

    def relative(logits: np.ndarray) -> np.ndarray:
        return logits - logits.mean(axis=1, keepdims=True)

    np.testing.assert_allclose(relative(ours.logits(coordinates)), relative(theirs.logits(coordinates)), atol=0.02)


def test_logit_adjustment_finds_more_of_the_rare_class_than_no_rebalancing() -> None:
    coordinates, labels = rows([200, 12])
    plain = rebalance(Rebalance.NONE, coordinates, labels, np.ones(212), classes=2, seed=0)
    adjusted = rebalance(Rebalance.LOGIT_ADJUSTMENT, coordinates, labels, np.ones(212), classes=2, seed=0)
    head = fit_heads(coordinates, labels, adjusted.weight[None], adjusted.offset[None], regularisation=1.0)[0]
    rare = labels == 1
    found = (head.logits(coordinates)[rare].argmax(axis=1) == 1).mean()
    assert found > (fit_head(plain, regularisation=1.0, classes=2).logits(coordinates)[rare].argmax(axis=1) == 1).mean()


def test_heads_of_a_stack_do_not_see_what_has_no_weight() -> None:
    coordinates, labels = rows([40, 40])
    weight = np.ones((2, 80))
    weight[1, ::2] = 0
    both = fit_heads(coordinates, labels, weight, np.zeros((2, 2)), regularisation=0.1)
    poisoned = coordinates.copy()
    poisoned[::2] = -poisoned[::2]
    again = fit_heads(poisoned, labels, weight, np.zeros((2, 2)), regularisation=0.1)
    np.testing.assert_allclose(both[1].weights, again[1].weights, atol=0.01)
    assert np.abs(both[0].weights - again[0].weights).max() > 0.05


def test_a_class_without_an_example_is_never_predicted() -> None:
    coordinates, labels = rows([30, 10])
    data = rebalance(Rebalance.NONE, coordinates, labels, np.ones(40), classes=3, seed=0)
    for head in (
        fit_head(data, regularisation=1.0, classes=3),
        fit_heads(coordinates, labels, data.weight[None], np.zeros((1, 3)), regularisation=1.0)[0],
    ):
        assert (head.logits(coordinates)[:, 2] < head.logits(coordinates)[:, :2].min(axis=1) - 10).all()


def test_one_class_alone_is_always_predicted() -> None:
    coordinates, labels = rows([0, 10])
    data = rebalance(Rebalance.CLASS_WEIGHTS, coordinates, labels, np.ones(10), classes=2, seed=0)
    assert (fit_head(data, regularisation=1.0, classes=2).logits(coordinates).argmax(axis=1) == 1).all()
