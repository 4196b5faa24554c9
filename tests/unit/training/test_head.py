from collections.abc import Callable

import numpy as np
import pytest

from training.head import LinearHead, fit_head
from training.lightning_head import fit_lightning_head
from training.rebalance import Rebalance, rebalance


def rows(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = np.eye(len(counts), 6)[labels] * 1.5
    return (np.random.default_rng(0).normal(0, 1, (len(labels), 6)) + centres).astype(np.float32), labels


@pytest.mark.parametrize("counts", [[60, 20], [50, 20, 10]])
@pytest.mark.parametrize("how", [Rebalance.NONE, Rebalance.LOGIT_ADJUSTMENT])
def test_lightning_and_scikit_learn_find_the_same_head(how: Rebalance, counts: list[int]) -> None:
    coordinates, labels = rows(counts)
    data = rebalance(how, coordinates, labels, np.ones(len(labels)), classes=len(counts), seed=0)
    ours = fit_lightning_head(data, regularisation=0.5, classes=len(counts))
    theirs = fit_head(data, regularisation=0.5, classes=len(counts))

    def relative(logits: np.ndarray) -> np.ndarray:
        return logits - logits.mean(axis=1, keepdims=True)

    np.testing.assert_allclose(relative(ours.logits(coordinates)), relative(theirs.logits(coordinates)), atol=0.02)


@pytest.mark.parametrize("fit", [fit_head, fit_lightning_head])
def test_logit_adjustment_finds_more_of_the_rare_class_than_no_rebalancing(fit: Callable[..., LinearHead]) -> None:
    coordinates, labels = rows([200, 12])
    rare = labels == 1

    def found(how: Rebalance) -> float:
        data = rebalance(how, coordinates, labels, np.ones(212), classes=2, seed=0)
        logits = fit(data, regularisation=1.0, classes=2).logits(coordinates)
        return float((logits[rare].argmax(axis=1) == 1).mean())

    assert found(Rebalance.LOGIT_ADJUSTMENT) > found(Rebalance.NONE)


def test_a_class_without_an_example_is_never_predicted() -> None:
    coordinates, labels = rows([30, 10])
    data = rebalance(Rebalance.NONE, coordinates, labels, np.ones(40), classes=3, seed=0)
    for head in (
        fit_head(data, regularisation=1.0, classes=3),
        fit_lightning_head(data, regularisation=1.0, classes=3),
    ):
        assert (head.logits(coordinates)[:, 2] < head.logits(coordinates)[:, :2].min(axis=1) - 10).all()


def test_one_class_alone_is_always_predicted() -> None:
    coordinates, labels = rows([0, 10])
    data = rebalance(Rebalance.CLASS_WEIGHTS, coordinates, labels, np.ones(10), classes=2, seed=0)
    assert (fit_head(data, regularisation=1.0, classes=2).logits(coordinates).argmax(axis=1) == 1).all()
