import numpy as np
import pytest

from training.calibration_error import calibration_error


def frames(n: int, seed: int, *, off: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a rare event, and labels drawn from them moved by `off` in logits."""
    random = np.random.default_rng(seed)
    logit = random.normal(-2.5, 1.5, n)
    truth = random.random(n) < 1 / (1 + np.exp(-(logit + off)))
    return 1 / (1 + np.exp(-logit)), truth


def test_little_of_chance_is_taken_for_a_calibration_error() -> None:
    found = [calibration_error(*frames(400, seed), resamples=0).value for seed in range(60)]
    plain = []
    for seed in range(60):
        said, truth = frames(400, seed)
        order = np.argsort(said)
        plain.append(np.mean([abs(said[b].mean() - truth[b].mean()) for b in np.array_split(order, 10)]))
    # The true error is nought. A normal gap has a mean of 0.80 of its spread, and of 0.30 with the variance off.
    assert np.mean(plain) > 0.03
    assert np.mean(found) < 0.55 * np.mean(plain)


def test_a_true_error_is_found_and_its_interval_covers_it() -> None:
    said, truth = frames(200_000, 0, off=1.0)
    true = calibration_error(said, truth, resamples=0).value
    covered = 0
    for seed in range(30):
        one = calibration_error(*frames(600, 100 + seed, off=1.0), resamples=100, seed=seed)
        assert one.low <= one.value <= one.high
        covered += one.low <= true <= one.high
    assert covered >= 25  # 95 % of 30 is 28.5; the binomial's standard deviation is 1.2


def test_weights_make_it_the_error_of_all_frames() -> None:
    random = np.random.default_rng(0)
    said = np.r_[np.full(3000, 0.1), np.full(3000, 0.6)]
    truth = random.random(6000) < np.r_[np.full(3000, 0.1), np.full(3000, 0.9)]  # wrong by 0.3 in the second half
    weight = np.r_[np.full(3000, 9.0), np.full(3000, 1.0)]  # which stands for a tenth of the frames
    assert calibration_error(said, truth, resamples=0).value == pytest.approx(0.15, abs=0.02)
    assert calibration_error(said, truth, weight=weight, resamples=0).value == pytest.approx(0.03, abs=0.008)


def test_no_frames_say_nothing() -> None:
    assert np.isnan(calibration_error([], []).value)
