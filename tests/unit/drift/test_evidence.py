"""Error control over time, by simulation: the mean time to a false alarm is at least 1/ν (rule 3)."""

from __future__ import annotations

import numpy as np
import pytest

from data.drift.evidence import STAKES, advance, growth

ONE = np.ones(1)


def run_length(draw, edge: float, budget: float, most: int, rng: np.random.Generator) -> int:  # type: ignore[no-untyped-def]
    """Windows until one bet alarms."""
    evidence = np.zeros((1, len(STAKES)))
    for window in range(most):
        payoffs, relative = draw(rng)
        evidence = advance(evidence, growth(payoffs[:, None], np.array([edge]), relative), ONE, budget)
        if evidence.sum() >= 1:
            return window + 1
    return most


def sampled(mean: float, seek: float):  # type: ignore[no-untyped-def]
    """A window of 60 frames of which 6 are kept; payoff 1 with chance `mean`, and such frames weigh `seek` times."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        payoff = (rng.random(60) < mean).astype(float)
        weight = np.where(payoff > 0, seek, 1.0)
        priority = weight / (1.0 - rng.random(60))
        order = np.argsort(-priority)
        threshold = priority[order[6]]
        p = np.minimum(1.0, weight[order[:6]] / threshold)
        return payoff[order[:6]], min(1.0, 1.0 / threshold) / p

    return draw


def test_false_alarms_are_as_rare_as_promised_on_the_edge_itself() -> None:
    rng = np.random.default_rng(1)
    lengths = [run_length(sampled(0.3, 1.0), 0.3, 1 / 40, 200, rng) for _ in range(60)]
    error = np.std(lengths) / len(lengths) ** 0.5
    assert np.mean(lengths) > 40 - 3 * error  # runs are cut at 200: the true mean is larger still


def test_what_the_sampler_prefers_is_not_mistaken_for_drift() -> None:
    rng = np.random.default_rng(2)
    draw = sampled(0.3, 5.0)
    kept = np.mean([draw(rng)[0].mean() for _ in range(100)])
    assert kept > 0.6  # the sample itself looks like drift
    weighted = [run_length(draw, 0.3, 1 / 40, 150, rng) for _ in range(50)]
    naive = [run_length(lambda r: (draw(r)[0], np.ones(6)), 0.3, 1 / 40, 150, rng) for _ in range(20)]
    assert np.mean(weighted) > 40 - 3 * np.std(weighted) / len(weighted) ** 0.5
    assert np.mean(naive) < 10


@pytest.mark.parametrize("seek", [1.0, 5.0])
def test_a_real_change_is_found_within_a_few_windows(seek: float) -> None:
    rng = np.random.default_rng(3)
    lengths = [run_length(sampled(0.9, seek), 0.3, 1 / 10_000, 400, rng) for _ in range(40)]
    assert np.mean(lengths) < 12


def test_evidence_grows_by_the_budget_alone_when_nothing_is_seen() -> None:
    evidence = advance(np.zeros((2, len(STAKES))), np.zeros((2, len(STAKES))), np.array([0.25, 0.75]), 0.1)
    assert evidence.sum() == pytest.approx(0.1)
    assert evidence.sum(axis=1).tolist() == pytest.approx([0.025, 0.075])


def test_no_number_overflows() -> None:
    grown = growth(np.ones((5_000, 1)), np.array([0.01]), np.ones(5_000))
    assert np.isfinite(advance(np.ones((1, len(STAKES))), grown, ONE, 1.0)).all()
    lost = growth(np.zeros((5_000, 1)), np.array([0.5]), np.ones(5_000))
    assert advance(np.ones((1, len(STAKES))), lost, ONE, 0.0).sum() >= 0
