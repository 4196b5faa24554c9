import numpy as np
import pytest
from scipy.special import softmax

from training.calibration import Map, calibrate, calibrated, fit_temperature, prior_shift
from training.calibration_error import calibration_error


def world(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right about their own sureness, and labels drawn from them."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, 3))
    labels = (softmax(logits, axis=1).cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_of_sure_or_shy_logits_is_found(factor: float) -> None:
    logits, labels = world(4000)
    found = fit_temperature(logits * factor, labels, np.ones(4000), np.zeros(3))
    # Standard error of log T at n = 4000 is about 0.02 here.
    assert np.log(found / factor) == pytest.approx(0, abs=0.08)


def test_calibration_lowers_the_calibration_error() -> None:
    logits, labels = world(4000)
    sure = logits * 3
    temperature = fit_temperature(sure, labels, np.ones(4000), np.zeros(3))
    before, after = (
        calibration_error(calibrated(sure, t, np.zeros(3))[:, 0], labels == 0, resamples=0).value
        for t in (1.0, temperature)
    )
    assert after < 0.03 < before


def test_the_shift_moves_probabilities_to_other_class_shares() -> None:
    # With no evidence at all the answer is the class shares of the world to come.
    shift = prior_shift(np.array([0.5, 0.5]), np.array([0.99, 0.01]))
    np.testing.assert_allclose(calibrated(np.zeros((1, 2)), 2.0, shift), [[0.99, 0.01]], rtol=1e-5)


def test_a_class_that_training_never_had_is_left_where_it_is() -> None:
    assert prior_shift(np.array([1.0, 0.0]), np.array([0.9, 0.1]))[1] == 0


def test_nothing_to_learn_from_means_a_temperature_of_one() -> None:
    assert fit_temperature(np.zeros((5, 2)), np.zeros(5, dtype=int), np.ones(5), np.zeros(2)) == 1.0


def fitted(logits: np.ndarray, labels: np.ndarray):
    n = len(labels)
    shares = np.bincount(labels, minlength=3) / n
    groups = np.arange(n).astype(str)
    return calibrate(logits, labels, np.ones(n), prior=shares, groups=groups, seed=0)


def test_where_only_sureness_is_wrong_a_temperature_is_all_that_is_taken() -> None:
    taken = [fitted(logits * 2, labels).map for logits, labels in (world(500, seed) for seed in range(6))]
    assert taken.count(Map.TEMPERATURE) >= 4  # one standard error: a richer map is taken by chance in one of six


@pytest.mark.parametrize("by_class", [np.array([1.0, 1.0, 1.0]), np.array([3.0, 1.0, 0.5])])
def test_biased_logits_and_classes_of_different_sureness_are_put_right(by_class: np.ndarray) -> None:
    logits, labels = world(3000)
    wrong = logits * by_class + np.array([1.5, 0.0, -1.0])
    found = fitted(wrong, labels)
    assert found.map is (Map.BIAS_CORRECTED if by_class.min() == by_class.max() else Map.VECTOR)
    right = found.logits(wrong) - logits
    # Up to a constant for all classes; standard errors of scale and bias at n = 3,000 are about 0.03 and 0.05.
    np.testing.assert_allclose(right - right.mean(axis=1, keepdims=True), 0, atol=0.45)
    assert found.losses["temperature"] > min(found.losses.values())


def test_a_class_of_few_examples_keeps_the_common_temperature_and_takes_nothing_from_the_others() -> None:
    logits, labels = world(3000)
    wrong = logits + np.array([1.5, 0.0, 0.0])
    rows = np.r_[np.flatnonzero(labels < 2), np.flatnonzero(labels == 2)[:5]]
    found = fitted(wrong[rows], labels[rows])
    assert found.map is not Map.TEMPERATURE
    assert found.bias[2] == 0
    assert found.bias[0] - found.bias[1] == pytest.approx(-1.5, abs=0.25)  # standard error about 0.06


def test_with_one_class_of_examples_enough_only_a_temperature_is_fitted() -> None:
    logits, labels = world(600)
    rows = np.r_[np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:5], np.flatnonzero(labels == 2)[:5]]
    found = fitted(logits[rows] + np.array([3.0, 0.0, 0.0]), labels[rows])
    assert found.map is Map.TEMPERATURE
    assert found.losses == {}


def test_what_examples_weigh_does_not_move_the_class_shares_twice() -> None:
    # Balanced examples, logits that speak for even shares and are right: nothing is to be learnt from weights.
    logits, labels = world(4000)
    weight = np.where(labels == 0, 10.0, 1.0)
    found = calibrate(
        logits, labels, weight, prior=np.bincount(labels) / 4000, groups=np.arange(4000).astype(str), seed=0
    )
    right = found.logits(logits) - logits
    np.testing.assert_allclose(right - right.mean(axis=1, keepdims=True), 0, atol=0.4)
