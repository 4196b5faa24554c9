"""What a policy says of fine-tuning is what a plan is without one."""

from __future__ import annotations

from dataclasses import replace

from data.policy import FineTunePolicy
from flows.tiers import plan_of
from training.finetune.plan import FineTunePlan, fastest_precision


def test_a_policy_that_says_nothing_asks_for_the_plan_that_is_measured() -> None:
    assert plan_of(FineTunePolicy(), seed=7) == replace(FineTunePlan(), precision=fastest_precision(), seed=7)
