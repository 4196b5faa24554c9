"""The same recipe with other labels: what the budget brings at random, and what labelling everything would bring.

Both train on the factory's samples plus frames of the stream, embedded by the trunk that the devices run, and are
measured on the same holdout. They are yardsticks: nothing of them is registered or released.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from data.snapshots import take_snapshot
from data.workspace import Workspace
from flows.stack import registry_of
from flows.training_set import TrainingSet, make_ready
from infra.rehearsal import plan as rehearsal_plan
from infra.rehearsal.measures import Answers, HoldoutMeasure
from infra.rehearsal.plan import Frame
from infra.rehearsal.results import Comparison, Figure, HoldoutScore
from training.embeddings import EmbeddingCache
from training.examples import FACTORY, FIELD, Examples
from training.fit import FitRequest, learn_with_bank
from training.plans import Plan
from training.rebalance import Rebalance


@dataclass(frozen=True, slots=True, kw_only=True)
class _Embedded:
    """Frames, embedded; `features` and `patches` are in their order."""

    frames: tuple[Frame, ...]
    features: NDArray[np.float32]
    patches: NDArray[np.float16]


def compare(
    workspace: Workspace,
    inspection: str,
    plan: rehearsal_plan.Plan,
    measure: HoldoutMeasure,
    *,
    version: str,
    labels: int,
    captured: int,
    draws: int,
    seed: int,
) -> tuple[Comparison | None, Comparison]:
    """Train and measure both yardsticks.

    Args:
        workspace: The installation.
        inspection: Its name.
        plan: Whose stream is labelled.
        measure: The holdout.
        version: The loop's last champion: both yardsticks train by its plan.
        labels: How many labels the loop spent; none gives no random comparison.
        captured: How many frames the loop captured: the random comparison sees as many without a label.
        draws: How many independent random draws to average.
        seed: Of the draws.

    Returns:
        The mean over random draws, and the one with every frame labelled.
    """
    snapshot = take_snapshot(
        workspace.catalog(), workspace.lake(), inspection, at=datetime.now(UTC), policy=workspace.policy()
    )
    ready = make_ready(workspace, snapshot)
    plans = _plan_of(workspace, inspection, version)
    stream, holdout = (_embedded(workspace, ready, frames) for frames in (plan.streamed(), measure.frames))
    everything = list(range(len(stream.frames)))
    rng = random.Random(f"comparison {seed}")
    scores = []
    for draw in range(draws if labels else 0):
        seen = rng.sample(everything, max(labels, min(captured, len(everything))))
        scores.append(_score(ready, stream, holdout, measure, seen[:labels], seen[labels:], plans, seed + draw))
    full = _score(ready, stream, holdout, measure, everything, [], plans, seed)
    at_random = Comparison(labels=labels, score=_mean(scores), draws=draws) if scores else None
    return at_random, Comparison(labels=len(everything), score=full)


def _plan_of(workspace: Workspace, inspection: str, version: str) -> list[Plan] | None:
    """Return the plan that a version was trained by; None where there was none to choose (one class)."""
    registry = registry_of(workspace)
    params = registry.params_of(registry.api.version(inspection, version))
    if "plan" not in params:
        return None
    how = Rebalance(params["rebalance"])
    return [Plan(rebalance=how, regularisation=float(params["C"]), field_weight=float(params["field_weight"]))]


def _embedded(workspace: Workspace, ready: TrainingSet, frames: tuple[Frame, ...]) -> _Embedded:
    images = [frame.path.read_bytes() for frame in frames]
    digests = [hashlib.sha256(image).hexdigest() for image in images]
    found = EmbeddingCache(workspace.cache / "embeddings").embed(ready.trunk, digests, lambda i: images[i])
    return _Embedded(frames=frames, features=found.features, patches=found.patches)


def _score(
    ready: TrainingSet,
    stream: _Embedded,
    holdout: _Embedded,
    measure: HoldoutMeasure,
    labelled: Sequence[int],
    unlabelled: Sequence[int],
    plans: Sequence[Plan] | None,
    seed: int,
) -> HoldoutScore:
    """Learn from the factory's samples and some labelled frames of the stream, and score that on the holdout."""
    factory = ready.examples.origin == FACTORY
    chosen = np.array(sorted(labelled), dtype=np.int64)
    request = FitRequest(
        inspection=ready.snapshot.inspection,
        classes=ready.classes,
        trunk=ready.trunk,
        examples=ready.examples.select(factory).joined(_examples(ready, stream, chosen)),
        patches=np.concatenate([ready.patches[factory], stream.patches[chosen]]),
        selftest_images=(),  # no file is composed
        unlabelled=stream.features[np.array(sorted(unlabelled), dtype=np.int64)] if unlabelled else None,
        plans=plans,
        seed=seed,
    )
    learnt, bank, _ = learn_with_bank(request)
    probabilities = learnt.head.probabilities(holdout.features, bank.score(holdout.patches))
    return measure.of_answers(Answers(probabilities=probabilities, thresholds=learnt.thresholds))


def _examples(ready: TrainingSet, stream: _Embedded, chosen: NDArray[np.int64]) -> Examples:
    index = {c.name: i for i, c in enumerate(ready.classes)}
    frames = [stream.frames[int(i)] for i in chosen]
    n = len(frames)
    return Examples(
        ids=np.array([f"stream {f.frame_id}" for f in frames], dtype=np.str_),
        labels=np.array([index[f.label] for f in frames], dtype=np.int64),
        groups=np.array([f"stream {f.group}" for f in frames], dtype=np.str_),
        origin=np.full(n, FIELD),
        probability=np.full(n, n / len(stream.frames)),
        device=np.full(n, "comparison"),
        station=np.array([f.station or "" for f in frames], dtype=np.str_),
        features=stream.features[chosen],
    )


def _mean(scores: Sequence[HoldoutScore]) -> HoldoutScore:
    """Average scores; the interval is the mean interval, since all are measured on the same holdout."""

    def mean(figures: Sequence[Figure]) -> Figure:
        value, low, high = (float(np.mean([getattr(f, name) for f in figures])) for name in ("value", "low", "high"))
        return Figure(value=value, low=low, high=high, n=figures[0].n)

    return HoldoutScore(
        average_precision=mean([s.average_precision for s in scores]),
        balanced_accuracy=mean([s.balanced_accuracy for s in scores]),
        class_average_precision={
            name: mean([s.class_average_precision[name] for s in scores]) for name in scores[0].class_average_precision
        },
    )
