from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.label_scores import (
    AUDIT,
    SIGNALS,
    Mix,
    captured_signal,
    disagree_signal,
    mix_scores,
    rare_signal,
    uncertain_signal,
)
from data.priority_sampling import priority_sample
from edge_client.contract.engine_metadata import ClassInfo, Kind

OK, CRACK, VOID = (
    ClassInfo(name="ok", kind=Kind.OK),
    ClassInfo(name="crack", kind=Kind.DEFECT),
    ClassInfo(name="void", kind=Kind.DEFECT),
)


@given(seed=st.integers(0, 2**32), n=st.integers(1, 60), phi=st.floats(0.05, 0.95))
def test_nothing_is_worth_less_than_the_audit_share_of_the_mean_and_the_parts_add_up(
    seed: int, n: int, phi: float
) -> None:
    rng = np.random.default_rng(seed)
    signals = {name: rng.random(n) ** rng.integers(1, 9) for name in SIGNALS if rng.random() < 0.7}
    p1 = rng.uniform(0.05, 1, n)
    scored = mix_scores(signals, p1, Mix(audit_share=phi))
    mean = float(np.sum(scored.values / p1) / np.sum(1 / p1))
    assert scored.values.min() >= phi * mean * (1 - 1e-9)
    assert np.sum(list(scored.parts.values()), axis=0) == pytest.approx(np.ones(n))
    assert scored.scores == pytest.approx(scored.values / p1)


def test_the_audit_share_bounds_the_variance_of_a_total() -> None:
    """Rule 3: at most (1/φ - f)/(1 - f) times the variance of a draw with all alike, for the worst of frames."""
    rng = np.random.default_rng(5)
    n, drawn, phi = 400, 60, 0.3
    hidden = np.zeros(n)
    hidden[:40] = 1.0  # what is looked for is where no signal is
    signals = {"uncertain": 1 - hidden}
    scores = mix_scores(signals, np.ones(n), Mix(audit_share=phi)).scores

    def totals(of: np.ndarray) -> np.ndarray:
        found = []
        for _ in range(3000):
            sample = priority_sample(of.tolist(), (1 - rng.random(n)).tolist(), drawn)
            found.append(float(np.sum((hidden / sample.p)[sample.drawn])))
        return np.array(found)

    ours, alike = totals(scores), totals(np.ones(n))
    assert abs(ours.mean() - 40) < 4 * ours.std() / len(ours) ** 0.5
    # Relative standard error of the ratio: 0.04; the threshold varies from draw to draw, which adds some hundredths.
    share = drawn / n
    assert 1.0 < ours.var() / alike.var() < (1 / phi - share) / (1 - share) * 1.15


def test_a_signal_that_all_share_drowns_none_that_one_has() -> None:
    shared, alone = np.full(100, 0.9), np.zeros(100)
    alone[7] = 0.9
    scored = mix_scores({"uncertain": shared, "novel": alone}, np.ones(100), Mix(uncertain=1, novel=1))
    assert scored.values[7] > 5 * scored.values[8]
    assert scored.why(7)["parts"]["novel"] > 0.5
    assert scored.why(8)["parts"].keys() == {"uncertain", AUDIT}
    assert scored.why(8)["signals"] == {"uncertain": 0.9, "novel": 0.0}


def test_without_any_signal_every_frame_is_alike() -> None:
    p1 = np.array([1.0, 0.5])
    assert mix_scores({}, p1, Mix()).values.tolist() == pytest.approx([0.3 / 0.7 * 1e-3] * 2)
    off = Mix(**dict.fromkeys(SIGNALS, 0.0))
    scored = mix_scores({"rare": np.array([1.0, 0.0])}, p1, off)
    assert scored.values[0] == scored.values[1]
    assert set(scored.parts) == {AUDIT}


@pytest.mark.parametrize(
    ("signals", "p1", "phi", "message"),
    [
        ({"colour": [0.5]}, [1.0], 0.3, "'colour' is unknown"),
        ({"rare": [1.5]}, [1.0], 0.3, r"not in \[0, 1\]"),
        ({"rare": [np.nan]}, [1.0], 0.3, r"not in \[0, 1\]"),
        ({"rare": [0.5]}, [0.0], 0.3, "every p₁"),
        ({"rare": [0.5]}, [1.0], 0.0, "no chance"),
    ],
)
def test_what_is_out_of_bounds_is_refused(
    signals: dict[str, list[float]], p1: list[float], phi: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        mix_scores({k: np.array(v) for k, v in signals.items()}, np.array(p1), Mix(audit_share=phi))


def test_uncertain_asks_first_for_ok_against_defect() -> None:
    sure_of_a_defect = np.array([[0.02, 0.5, 0.48]])
    torn = np.array([[0.5, 0.5, 0.0]])
    assert uncertain_signal(torn, np.array([0.0]), [OK, CRACK, VOID])[0] == pytest.approx(1.0)
    assert uncertain_signal(sure_of_a_defect, np.array([0.0]), [OK, CRACK, VOID])[0] == pytest.approx(0.98)
    assert uncertain_signal(np.array([[0.95, 0.03, 0.02]]), np.array([0.0]), [OK, CRACK, VOID])[0] < 0.11
    assert uncertain_signal(np.array([[0.45, 0.3, 0.25]]), np.array([0.0]), [OK, CRACK, VOID])[0] == pytest.approx(0.9)
    one = uncertain_signal(np.ones((3, 1)), np.array([1.0, 0.2, np.nan]), [OK])
    assert one.tolist() == [1.0, 0.0, 1.0]


def test_rare_is_a_class_with_few_labels_and_a_defect_never_common() -> None:
    p = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    found = rare_signal(p, np.array([50.0, 100.0, 1.0]), [OK, CRACK, VOID])
    assert found.tolist() == pytest.approx([0.5, 0.5, 0.99])


def test_what_the_device_wanted_is_measured_against_frames_not_against_what_it_kept() -> None:
    weights, p1 = np.array([1.0] * 10 + [9.0] * 10), np.array([0.01] * 10 + [1.0] * 10)
    found = captured_signal(weights, p1)
    assert found.tolist() == [1.0] * 20  # 1,000 frames weigh 1: ten of weight 9 are no measure
    assert captured_signal(weights, np.ones(20))[0] == pytest.approx(1 / 9)


def test_no_opinion_disagrees_with_none() -> None:
    one, other = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [np.nan, np.nan]])
    assert disagree_signal(one, other).tolist() == [1.0, 0.0]
