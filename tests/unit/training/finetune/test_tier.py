"""When a trunk is worth it."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.finetune.tier import Tier, choose_tier
from training.goal import Goal, PlanMeasure
from training.plan_measures import Answers

CLASSES = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="defect", kind=Kind.DEFECT))
GOAL = Goal(measure=PlanMeasure.MEAN_AVERAGE_PRECISION)


def answers(separation: float, n: int, seed: int) -> Answers:
    """Scores of ok and defect frames so many standard deviations apart; seed 0's noise is in all of them."""
    labels = np.arange(n) % 4 == 0
    shared = np.random.default_rng(seed).standard_normal(n)
    own = np.random.default_rng(round(separation * 1000)).standard_normal(n)
    p = 1 / (1 + np.exp(-(separation * labels + 0.8 * shared + 0.6 * own - separation / 2)))
    return Answers(
        probabilities=np.stack([1 - p, p], axis=1),
        labels=labels.astype(np.int64),
        prior=np.array([0.75, 0.25]),
        frames=np.ones(n),
    )


def groups(n: int) -> np.ndarray:
    return np.array([f"part-{i // 2}" for i in range(n)])


def test_a_clear_gain_moves_up_and_says_by_how_much() -> None:
    decision = choose_tier(
        answers(1.0, 600, 0), answers(2.5, 600, 0), groups(600), CLASSES, GOAL, worthwhile=0.01, seed=0
    )
    assert decision.tier is Tier.FINE_TUNE
    assert decision.gain is not None
    assert 0.01 < decision.gain.low < decision.gain.value < decision.gain.high
    assert decision.gain.n == 600
    assert "for sure" in decision.reason
    assert decision.metrics()["tier_gain"] == pytest.approx(decision.gain.value)


def test_a_gain_that_is_not_worth_it_stays() -> None:
    pair = answers(1.0, 600, 0), answers(2.5, 600, 0)
    assert choose_tier(*pair, groups(600), CLASSES, GOAL, worthwhile=0.5, seed=0).tier is Tier.HEAD


def test_too_few_held_samples_stay_and_ask_for_labels() -> None:
    decision = choose_tier(answers(1.0, 60, 0), answers(9.0, 60, 0), groups(60), CLASSES, GOAL, worthwhile=0.0, seed=0)
    assert decision.tier is Tier.HEAD
    assert "label more" in decision.reason
    assert decision.metrics() == {}


def test_without_a_difference_it_moves_up_about_as_seldom_as_stated() -> None:
    # Equally good tiers, nothing demanded: a one-sided 5 % test; of 25 trials, up to 5 by four standard errors.
    moved = 0
    for seed in range(25):
        head = answers(1.5, 240, seed)
        other = answers(1.5, 240, seed)
        own = np.random.default_rng(10_000 + seed).standard_normal((2, 240)) * 0.4
        noisy = [
            Answers(probabilities=np.stack([1 - p, p], axis=1), labels=a.labels, prior=a.prior, frames=a.frames)
            for a, noise in zip((head, other), own, strict=True)
            for p in [1 / (1 + np.exp(-(np.log(a.probabilities[:, 1] / a.probabilities[:, 0]) + noise)))]
        ]
        decision = choose_tier(*noisy, np.arange(240).astype(str), CLASSES, GOAL, worthwhile=0.0, seed=seed)
        moved += decision.tier is Tier.FINE_TUNE
    assert moved <= 1.25 + 4 * np.sqrt(25 * 0.05 * 0.95)
