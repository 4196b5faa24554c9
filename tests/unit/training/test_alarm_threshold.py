import numpy as np
import pytest

from training.alarm_threshold import alarm_threshold, effective_frames

RATE = 0.01


def names(n: int) -> np.ndarray:
    return np.array([f"g{i}" for i in range(n)])


@pytest.mark.parametrize(("n", "rate"), [(30, 0.01), (99, 0.01), (412, 0.01), (60, 0.1)])
def test_the_interval_holds_the_true_share_in_95_of_100_plants(n: int, rate: float) -> None:
    """Rules 1 and 2: scores are uniform, so the share above a threshold t is 1 - t; any distribution maps to that."""
    random = np.random.default_rng(n + 1)
    plants = 1_000
    held, shares = 0, []
    for scores in random.random((plants, n)):
        threshold, passing = alarm_threshold(scores, names(n), rate)
        held += passing.low <= 1 - threshold <= passing.high
        shares.append(1 - threshold)
    assert abs(held / plants - 0.95) < 3 * np.sqrt(0.95 * 0.05 / plants)
    # The mean share is what is told, within three standard errors.
    assert abs(np.mean(shares) - passing.value) < 3 * np.std(shares) / np.sqrt(plants)


def test_enough_frames_keep_the_rate_that_was_asked_for_and_fewer_say_that_they_cannot() -> None:
    scores = np.random.default_rng(0).random(400).astype(np.float32)
    for n in (99, 100, 250, 400):
        _, passing = alarm_threshold(scores[:n], names(n), RATE)
        assert passing.value <= RATE
        assert passing.kept
        assert "cannot" not in str(passing)
    _, few = alarm_threshold(scores[:98], names(98), RATE)
    assert few.value == pytest.approx(1 / 99)
    assert not few.kept
    assert str(few) == (
        "1.0 is passed by 1 % of ok frames [0.026, 3.7], n = 98: so few cannot promise 1 %, which takes 99 ok frames"
    )


def test_with_few_frames_the_highest_score_is_the_threshold() -> None:
    scores = np.array([0.3, 0.9, 0.1, 0.5], dtype=np.float32)
    threshold, passing = alarm_threshold(scores, names(4), RATE)
    assert threshold == pytest.approx(0.9)
    assert (passing.value, passing.high) == pytest.approx((1 / 5, 1 - 0.025 ** (1 / 4)))


def test_frames_of_one_part_count_for_less_and_the_interval_holds_all_the_same() -> None:
    """Rule 4: 60 parts of 5 frames, most of the spread between parts; a share of fresh parts' frames passes."""
    random = np.random.default_rng(1)
    groups, rate, plants = np.repeat(names(60), 5), 0.05, 300
    held_naive = held = 0
    for _ in range(plants):
        part = np.repeat(random.normal(0, 0.9, 60), 5)
        scores = (part + random.normal(0, np.sqrt(1 - 0.9**2), 300)).astype(np.float32)
        threshold, passing = alarm_threshold(scores, groups, rate)
        _, naive = alarm_threshold(scores, names(300), rate)
        share = 1 - _normal(threshold)  # the score of one fresh frame is standard normal
        held += passing.low <= share <= passing.high
        held_naive += naive.low <= share <= naive.high
        assert 60 < passing.effective_n < 120
    assert held / plants > 0.93
    assert held_naive / plants < 0.9  # what the interval would be if frames of a part were strangers


def test_unrelated_frames_in_groups_count_nearly_in_full() -> None:
    random = np.random.default_rng(2)
    told = [effective_frames(random.random(300).astype(np.float32), np.repeat(names(60), 5)) for _ in range(50)]
    assert np.mean(told) > 270
    assert max(told) <= 300


def test_equal_scores_and_one_group_are_no_division_by_zero() -> None:
    same = np.zeros(20, dtype=np.float32)
    assert effective_frames(same, np.repeat(names(10), 2)) == 20
    assert effective_frames(same, np.array(["lot"] * 20)) == 20
    assert alarm_threshold(same, names(20), RATE)[0] == 0.0


def _normal(x: float) -> float:
    from scipy import stats

    return float(stats.norm.cdf(x))


def test_many_frames_of_few_lots_do_not_promise_what_they_cannot() -> None:
    """Rules 3 and 4: 400 frames of 20 lots that are alike within are hardly more than 20 frames."""
    random = np.random.default_rng(3)
    scores = (np.repeat(random.normal(0, 1, 20), 20) + random.normal(0, 0.05, 400)).astype(np.float32)
    threshold, passing = alarm_threshold(scores, np.repeat(names(20), 20), RATE)
    assert passing.effective_n == pytest.approx(20, abs=1)
    assert threshold == scores.max()
    assert passing.value == pytest.approx(1 / 21, abs=0.003)
    assert not passing.kept
    assert str(passing).endswith("so few cannot promise 1 %, which takes 99 unrelated ok frames")
