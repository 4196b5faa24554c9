"""Which input choice pays: candidates beside today's choice, on the same frames, by the inspection's own measure.

1. Every candidate answers the same frames out of fold; what is compared is the difference to today's choice, frame by
   frame, with a bootstrap over groups that all candidates share.
2. The more candidates are tried, the better the luckiest looks. Intervals of the differences are simultaneous: 95 % for
   all of them together (max-t, Romano & Wolf 2005).
3. A candidate is recommended only if its whole interval is above zero; of several, the one with the highest measure,
   or a cheaper one that is within a standard error of it. What it costs is said beside it.
4. The intervals speak for other frames of this kind. They do not know that a candidate was trained on few of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import ClassInfo
from training.bootstrap import resampled_counts
from training.evaluate import Measure
from training.examples import Examples
from training.goal import Goal
from training.input_choice import InputChoice
from training.plan_measures import WORDS, Answers, plan_measures
from training.plans import DEFAULT, REGULARISATIONS, Plan, judged_rows
from training.prior import population_weight, target_prior

#: Every choice has its own best regularisation: wider features want it stronger.
PLANS = tuple(
    Plan(rebalance=DEFAULT.rebalance, regularisation=c, field_weight=DEFAULT.field_weight) for c in REGULARISATIONS
)
#: Of a class, as far as it has them: a rare defect must not be left out with the frames that are.
LEAST_OF_A_CLASS = 30
_RESAMPLES = 1_000
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tried:
    """One choice and what came of it.

    Attributes:
        choice: What was looked at.
        variant: Of the trunk: `fp32` or `int8`.
        probabilities: float [n, K], out of fold, at the class shares of the frames to come.
        ms: Milliseconds a frame takes its engine on one thread of this machine.
        engine_bytes: Size of the engine's file.
    """

    choice: InputChoice
    variant: str
    probabilities: NDArray[np.floating]
    ms: float
    engine_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One row of the comparison.

    Attributes:
        difference: To today's choice; None for that itself.
    """

    choice: InputChoice
    variant: str
    measure: Measure
    difference: Measure | None
    ms: float
    engine_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "choice": str(self.choice),
            "variant": self.variant,
            "measure": self.measure.to_dict(),
            "difference": None if self.difference is None else self.difference.to_dict(),
            "ms_a_frame": self.ms,
            "engine_bytes": self.engine_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the trial says.

    Attributes:
        rows: Today's choice first, then the others in the order they were given.
        measure: In words.
        frames: That were judged.
        of: Labelled training frames there are.
        recommended: The choice that pays; None where none is shown to.
        latency_limit_ms: What the gate allows an engine that follows today's; None where nobody said.
    """

    rows: tuple[Compared, ...]
    measure: str
    frames: int
    of: int
    recommended: InputChoice | None
    latency_limit_ms: float | None = None

    @property
    def today(self) -> Compared:
        """The choice that is in use."""
        return self.rows[0]

    def row_of(self, choice: InputChoice) -> Compared:
        """Return the row of a choice."""
        return next(row for row in self.rows if row.choice == choice)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "measure": self.measure,
            "frames": self.frames,
            "of": self.of,
            "today": str(self.today.choice),
            "recommended": None if self.recommended is None else str(self.recommended),
            "latency_limit_ms": self.latency_limit_ms,
            "choices": [row.to_dict() for row in self.rows],
        }


def usual_candidates(today: InputChoice, *, backbones: Sequence[str] = ()) -> list[InputChoice]:
    """Return what is tried unless a user names it: one thing at a time is changed.

    Args:
        today: The choice in use.
        backbones: Backbones to try.
    """
    wanted: list[dict[str, Any]] = [{"side": side} for side in (160, 224, 320)]
    wanted += [{"backbone": name} for name in backbones]
    wanted += [{"tiles": [1, 1], "overlap": 0.0}, {"tiles": [2, 2]}, {"views": 1}, {"views": 2}]
    return _changed(today, wanted)


def region_candidates(today: InputChoice, region: tuple[float, float, float, float]) -> list[InputChoice]:
    """Return a region of interest to try, as today's choice otherwise is and in 2x2 tiles."""
    return _changed(today, [{"region": list(region)}, {"region": list(region), "tiles": [2, 2]}])


def _changed(today: InputChoice, wanted: Sequence[dict[str, Any]]) -> list[InputChoice]:
    made = [InputChoice.from_dict({**today.to_dict(), **changes}) for changes in wanted]
    return [choice for choice in dict.fromkeys(made) if choice != today]


def pick_frames(labels: NDArray[np.int64], names: Sequence[str], most: int) -> NDArray[np.int64]:
    """Return rows for the trial, at most so many: each class in its share, none with next to nothing.

    Args:
        labels: int [n].
        names: Of the frames; which are picked goes by their hash, so the same ones the next time.
        most: How many.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    keys = [hashlib.sha256(name.encode()).digest() for name in names]
    counts = np.bincount(labels)
    least = min(LEAST_OF_A_CLASS, most // max(1, int((counts > 0).sum())))
    quota = np.maximum(np.minimum(counts, least), counts * most // len(labels))
    quota[counts.argmax()] -= max(0, int(quota.sum()) - most)  # the commonest class can spare them
    picked: list[int] = []
    for label in range(len(counts)):
        rows = sorted(np.flatnonzero(labels == label).tolist(), key=lambda i: keys[i])
        picked += rows[: int(quota[label])]
    return np.array(sorted(picked), dtype=np.int64)


def compare(
    tried: Sequence[Tried],
    examples: Examples,
    classes: Sequence[ClassInfo],
    goal: Goal,
    *,
    of: int,
    seed: int,
    resamples: int = _RESAMPLES,
) -> Comparison:
    """Compare choices.

    Args:
        tried: Today's choice first.
        examples: n rows, in the order of the probabilities; their features are not read.
        classes: K classes.
        goal: Whose measure counts.
        of: Labelled training frames there are.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.
    """
    judged = judged_rows(examples, classes)
    weight = population_weight(examples)
    weight = np.where(weight > 0, weight, weight[weight > 0].min())[judged]
    labels, prior = examples.labels[judged], target_prior(examples, len(classes))
    counts = np.concatenate(
        list(resampled_counts(labels, resamples=resamples, seed=seed, groups=examples.groups[judged]))
    )
    counts = np.concatenate([np.ones((1, len(labels))), counts])
    measured = np.stack(
        [
            plan_measures(
                goal,
                classes,
                Answers(probabilities=one.probabilities[judged], labels=labels, prior=prior, frames=weight),
                counts,
            )
            for one in tried
        ]
    )
    values, draws = measured[:, 0], measured[:, 1:]
    gaps, deviations = values - values[0], draws - draws[0]
    errors = deviations.std(axis=1, ddof=1)
    reach = _simultaneous(deviations[1:] - gaps[1:, None], errors[1:]) * errors
    rows = []
    for k, one in enumerate(tried):
        low, high = np.quantile(draws[k], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        n = len(labels)
        gap = Measure(value=float(gaps[k]), low=float(gaps[k] - reach[k]), high=float(gaps[k] + reach[k]), n=n)
        rows.append(
            Compared(
                choice=one.choice,
                variant=one.variant,
                measure=Measure(value=float(values[k]), low=float(low), high=float(high), n=n),
                difference=gap if k else None,
                ms=one.ms,
                engine_bytes=one.engine_bytes,
            )
        )
    return Comparison(
        rows=tuple(rows),
        measure=WORDS[goal.measure],
        frames=len(labels),
        of=of,
        recommended=_recommended(rows, values, draws),
    )


def _simultaneous(deviations: NDArray[np.float64], errors: NDArray[np.float64]) -> float:
    """How many standard errors hold all differences at once (rule 2)."""
    real = errors > 0
    if not real.any():
        return 0.0
    worst = (np.abs(deviations[real]) / errors[real, None]).max(axis=0)
    return float(np.quantile(worst, _LEVEL))


def _recommended(
    rows: Sequence[Compared], values: NDArray[np.float64], draws: NDArray[np.float64]
) -> InputChoice | None:
    """Rule 3."""
    paying = [k for k, row in enumerate(rows) if row.difference is not None and row.difference.low > 0]
    if not paying:
        return None
    best = max(paying, key=lambda k: values[k])
    near = [k for k in paying if values[best] - values[k] <= float((draws[best] - draws[k]).std(ddof=1))]
    return rows[min([best, *near], key=lambda k: rows[k].ms)].choice
