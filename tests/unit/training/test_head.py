import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from training.head import fit_head
from training.rebalance import Rebalance, rebalance
from training.softmax_regression import fit_softmax


def rows(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = np.eye(len(counts), 6)[labels] * 1.5
    return (np.random.default_rng(0).normal(0, 1, (len(labels), 6)) + centres).astype(np.float32), labels


def test_logit_adjustment_finds_more_of_the_rare_class_than_no_rebalancing() -> None:
    coordinates, labels = rows([200, 12])
    rare = labels == 1

    def found(how: Rebalance) -> float:
        data = rebalance(how, coordinates, labels, np.ones(212), classes=2, seed=0)
        logits = fit_head(data, regularisation=1.0, classes=2).logits(coordinates)
        return float((logits[rare].argmax(axis=1) == 1).mean())

    assert found(Rebalance.LOGIT_ADJUSTMENT) > found(Rebalance.NONE)


def relative(logits: np.ndarray) -> np.ndarray:
    return logits - logits.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("counts", [[60, 20], [50, 20, 10]])
@pytest.mark.parametrize("regularisation", [1e-3, 0.1, 10.0])
def test_the_solver_finds_scikit_learns_minimum(counts: list[int], regularisation: float) -> None:
    coordinates, labels = rows(counts)
    coordinates = coordinates * np.array([30, 10, 3, 1, 0.3, 0.1], dtype=np.float32)  # spreads as principal axes have
    weight = np.random.default_rng(1).uniform(0.5, 3, len(labels))
    weights, bias = fit_softmax(coordinates, labels, weight, classes=len(counts), regularisation=regularisation)
    theirs = LogisticRegression(C=regularisation, tol=1e-8, max_iter=10_000)
    theirs.fit(coordinates.astype(np.float64), labels, sample_weight=weight)
    expected = theirs.decision_function(coordinates)
    if len(counts) == 2:
        expected = np.stack([-expected, expected], axis=1) / 2
    found = relative(coordinates @ weights + bias)
    np.testing.assert_allclose(found, relative(expected), atol=0.03 * np.abs(expected).max())


def test_beginning_at_another_plans_head_ends_at_the_same_one() -> None:
    coordinates, labels = rows([50, 20, 10])
    by_plan = [
        rebalance(how, coordinates, labels, np.ones(80), classes=3, seed=0)
        for how in (Rebalance.CLASS_WEIGHTS, Rebalance.NONE)
    ]
    first = fit_head(by_plan[0], regularisation=0.1, classes=3)
    cold = fit_head(by_plan[1], regularisation=0.1, classes=3).logits(coordinates)
    warm = fit_head(by_plan[1], regularisation=0.1, classes=3, start=first).logits(coordinates)
    np.testing.assert_allclose(relative(warm), relative(cold), atol=0.05)


def test_the_focal_gradient_is_that_of_its_loss() -> None:
    # At the minimum a step in any direction costs: a wrong gradient would have stopped elsewhere.
    coordinates, labels = rows([40, 15, 10])
    share = np.full(65, 1 / 65)

    def loss(weights: np.ndarray, bias: np.ndarray) -> float:
        logits = coordinates @ weights + bias
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        right = (p / p.sum(axis=1, keepdims=True))[np.arange(65), labels]
        return float(share @ (-((1 - right) ** 2) * np.log(right))) + 0.5 / (0.5 * 65) * float((weights**2).sum())

    weights, bias = fit_softmax(coordinates, labels, np.ones(65), classes=3, regularisation=0.5, focus=2.0)
    least = loss(weights, bias)
    random = np.random.default_rng(0)
    for size in (0.3, 0.05):
        for _ in range(30):
            other = loss(weights + size * random.normal(size=weights.shape), bias + size * random.normal(size=3))
            assert other > least


def test_adjusting_in_the_loss_and_afterwards_find_one_head() -> None:
    coordinates, labels = rows([50, 20, 10])
    heads = [
        fit_head(
            rebalance(how, coordinates, labels, np.ones(80), classes=3, seed=0), regularisation=0.5, classes=3
        ).logits(coordinates)
        for how in (Rebalance.LOGIT_ADJUSTMENT, Rebalance.LOGIT_ADJUSTMENT_POST_HOC, Rebalance.BALANCED_SOFTMAX)
    ]
    np.testing.assert_allclose(relative(heads[1]), relative(heads[0]), atol=0.05)
    np.testing.assert_allclose(relative(heads[2]), relative(heads[0]), atol=0.05)


def test_a_class_without_an_example_is_never_predicted() -> None:
    coordinates, labels = rows([30, 10])
    data = rebalance(Rebalance.NONE, coordinates, labels, np.ones(40), classes=3, seed=0)
    logits = fit_head(data, regularisation=1.0, classes=3).logits(coordinates)
    assert (logits[:, 2] < logits[:, :2].min(axis=1) - 10).all()


def test_one_class_alone_is_always_predicted() -> None:
    coordinates, labels = rows([0, 10])
    data = rebalance(Rebalance.CLASS_WEIGHTS, coordinates, labels, np.ones(10), classes=2, seed=0)
    assert (fit_head(data, regularisation=1.0, classes=2).logits(coordinates).argmax(axis=1) == 1).all()
