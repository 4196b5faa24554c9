import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from training.calibration import calibrated, expected_calibration_error, fit_temperature, prior_shift
from training.thresholds import choose_thresholds


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
        expected_calibration_error(calibrated(sure, t, np.zeros(3))[:, 0], labels == 0, np.ones(4000))
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


@given(
    p=st.lists(st.floats(min_value=0, max_value=1, width=32), min_size=2, max_size=60),
    seed=st.integers(0, 99),
    share=st.floats(0, 0.5),
)
@settings(max_examples=100, deadline=None)
def test_thresholds_are_always_in_order_and_inside_the_scale(p: list[float], seed: int, share: float) -> None:
    truth = np.random.default_rng(seed).random(len(p)) < 0.3
    found = choose_thresholds(np.array(p, dtype=np.float32), truth, np.ones(len(p)), unsure_share=share)
    assert 0 < found.unsure_low <= found.defect <= found.unsure_high < 1


def test_the_unsure_band_holds_about_the_share_asked_for() -> None:
    random = np.random.default_rng(0)
    truth = random.random(2000) < 0.3
    p = np.clip(random.normal(np.where(truth, 0.6, 0.25), 0.15), 0.01, 0.99).astype(np.float32)
    found = choose_thresholds(p, truth, np.ones(2000), unsure_share=0.1)
    assert ((p >= found.unsure_low) & (p < found.unsure_high)).mean() == pytest.approx(0.1, abs=0.01)


def test_a_handful_of_defects_cannot_drag_the_threshold_to_an_end() -> None:
    p = np.array([0.01] * 50 + [0.999], dtype=np.float32)
    truth = np.arange(51) == 50
    assert choose_thresholds(p, truth, np.ones(51)).defect <= 0.6
