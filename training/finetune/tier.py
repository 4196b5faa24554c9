"""Whether fine-tuning is worth it: a rule over measured scores.

1. Both tiers answer for the same examples, of groups that no trunk has seen, each out of fold of its head. Nothing of
   the holdout is touched: the gate judges what comes out as it judges any challenger.
2. The measure is the inspection's own (`training.goal`). Its gain is resampled over groups, both on the same draw.
3. A fine-tuned trunk costs: minutes of training, all embeddings anew, a whole engine to each device. It is moved up to
   only if the gain is more than `worthwhile` at the least that 95 % of resamples leave; else the head tier stays.
4. With too few held examples nothing can be shown, and the head tier stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.bootstrap import resampled_counts
from training.evaluate import Measure
from training.goal import Goal
from training.plan_measures import WORDS, Answers, plan_measures

#: Least number of held examples of kind ok and of kind defect.
LEAST_HELD = 20
_RESAMPLES = 500
_LEVEL = 0.95


class Tier(Enum):
    """What learns."""

    HEAD = "head"  # a head over the embeddings of the trunk that is there
    FINE_TUNE = "finetune"  # the trunk itself, then a head over its embeddings


@dataclass(frozen=True, slots=True, kw_only=True)
class TierDecision:
    """Which tier, and why.

    Attributes:
        tier: The answer.
        reason: In words.
        gain: Fine-tune less head by the inspection's measure, with its one-sided 95 % bounds; None where not measured.
        head: The measure of the head tier.
        fine_tune: That of the fine-tune tier.
    """

    tier: Tier
    reason: str
    gain: Measure | None = None
    head: float | None = None
    fine_tune: float | None = None

    def metrics(self) -> dict[str, float]:
        """Return the numbers for the record."""
        if self.gain is None or self.head is None or self.fine_tune is None:
            return {}
        return {
            "tier_head": self.head,
            "tier_finetune": self.fine_tune,
            "tier_gain": self.gain.value,
            "tier_gain_low": self.gain.low,
            "tier_gain_high": self.gain.high,
            "tier_samples": float(self.gain.n),
        }


def choose_tier(
    head: Answers,
    fine_tune: Answers,
    groups: NDArray[np.str_],
    classes: Sequence[ClassInfo],
    goal: Goal,
    *,
    worthwhile: float,
    seed: int,
) -> TierDecision:
    """Decide between two tiers.

    Args:
        head: What the head tier says of n held examples.
        fine_tune: What the fine-tune tier says of the same ones.
        groups: str [n].
        classes: K classes.
        goal: Whose measure counts.
        worthwhile: The gain below which a new trunk is not worth its cost.
        seed: Of the bootstrap.
    """
    defect = np.array([info.kind is Kind.DEFECT for info in classes])[head.labels]
    least = int(min(defect.sum(), (~defect).sum()))
    if least < LEAST_HELD:
        return TierDecision(
            tier=Tier.HEAD,
            reason=f"{least} held samples of a side, where {LEAST_HELD} are needed to tell the tiers apart: label more",
        )
    once = np.ones((1, len(groups)))
    value = [float(plan_measures(goal, classes, answers, once)[0]) for answers in (head, fine_tune)]
    drawn = np.concatenate(
        [
            plan_measures(goal, classes, fine_tune, counts) - plan_measures(goal, classes, head, counts)
            for counts in resampled_counts(head.labels, resamples=_RESAMPLES, seed=seed, groups=groups)
        ]
    )
    low, high = (float(q) for q in np.quantile(drawn, [1 - _LEVEL, _LEVEL]))
    gain = Measure(value=value[1] - value[0], low=low, high=high, n=len(groups))
    found = (
        f"{WORDS[goal.measure]} on {gain.n} held samples: {value[1]:.3f} fine-tuned, {value[0]:.3f} by the head, "
        f"gain {gain.value:+.3f} ({low:+.3f} to {high:+.3f})"
    )
    if low > worthwhile:
        return TierDecision(
            tier=Tier.FINE_TUNE,
            reason=f"{found}: more than {worthwhile:g} for sure",
            gain=gain,
            head=value[0],
            fine_tune=value[1],
        )
    return TierDecision(
        tier=Tier.HEAD,
        reason=f"{found}: not surely more than {worthwhile:g}",
        gain=gain,
        head=value[0],
        fine_tune=value[1],
    )
