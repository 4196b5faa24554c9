"""Head or fine-tune: which part of the model learns in a retrain.

1. `head` fits a head over the embeddings of the champion's trunk. `finetune` trains that trunk itself, embeds by the
   new one and fits a head as ever. `auto` does both and takes the new trunk only if the rule says so
   (`training.finetune.tier`).
2. What the trunk was trained on judges nothing afterwards: plans, calibration, thresholds and the gate's evidence rest
   on groups that it has not seen.
3. Where there are too few labels to fine-tune, `auto` stays with the head and says so; `finetune` is refused.
4. A fine-tuning that was killed is gone on with when the retrain is run again.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import numpy as np

from data.inspections import get_inspection
from data.policy import FineTunePolicy
from data.snapshots import Snapshot
from data.workspace import Workspace
from edge_client.contract.engine_metadata import Kind
from edge_client.contract.errors import ConfigError
from flows.champion import Champion, metadata_of
from flows.judged import fit_request
from flows.retrain_settings import goal_of
from flows.task_runner import Here, Promise, Runner
from flows.tier_names import FINE_TUNE, HEAD
from flows.training_set import TrainingSet, make_ready
from flows.trunks import float_of, shipped_of, trunk_of
from flows.tuned_trunks import Origin, keep_tuned, origin_of
from training.finetune.plan import FineTunePlan, fastest_precision
from training.finetune.tier import LEAST_HELD, Tier, TierDecision, choose_tier
from training.fit import Challenger, fit
from training.plan_measures import Answers
from training.prior import population_weight

_log = logging.getLogger("andon.retrain")
_ASKED = "asked for"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A challenger, what it was fitted on, and the tier.

    Attributes:
        figures: Numbers about the fine-tuning, for the record.
    """

    ready: TrainingSet
    challenger: Challenger
    tier: TierDecision
    figures: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a retrain was asked for, and what computes it."""

    tier: str
    run_id: str
    seed: int
    sabotage: bool
    now: datetime
    runner: Runner = field(default_factory=Here)


def fit_by_tier(workspace: Workspace, snapshot: Snapshot, champion: Champion | None, order: Order) -> Fitted:
    """Fit a challenger by the tier that was asked for (rule 1).

    Raises:
        TooFewToTune: `finetune` was asked for, and there is too little to learn from.
    """
    from training.finetune.tuned import TooFewToTune  # imports torch, which the everyday retrain does not need

    space = metadata_of(champion.engine).embedding_id if champion else ""
    base = trunk_of(workspace, snapshot, champion=space)
    origin = origin_of(workspace.bucket(), snapshot.inspection, base.id)
    others = (
        origin_of(workspace.bucket(), snapshot.inspection, space).seen if space not in ("", base.id) else frozenset()
    )
    ready = make_ready(workspace, snapshot, base, seen=origin.seen, seen_by_champion=others, runner=order.runner)
    if order.tier == FINE_TUNE:
        tuned, figures = fine_tuned(workspace, ready, origin, order)
        decision = TierDecision(tier=Tier.FINE_TUNE, reason=_ASKED)
        challenger = _fit(workspace, tuned, order).result()
        return Fitted(ready=tuned, challenger=challenger, tier=decision, figures=figures)
    head = _fit(workspace, ready, order)
    if order.tier == HEAD:
        return _stays(ready, head.result(), TierDecision(tier=Tier.HEAD, reason=_ASKED))
    try:
        tuned, figures = fine_tuned(workspace, ready, origin, order)  # on a cluster both are trained at once
    except TooFewToTune as error:
        return _stays(ready, head.result(), TierDecision(tier=Tier.HEAD, reason=str(error)))
    other = _fit(workspace, tuned, order).result()
    decision = compare(workspace, tuned, head.result(), other, seed=order.seed)
    _log.info("%s: %s", snapshot.inspection, decision.reason)
    if decision.tier is Tier.HEAD:
        return replace(_stays(ready, head.result(), decision), figures=figures)
    return Fitted(ready=tuned, challenger=other, tier=decision, figures=figures)


def _stays(ready: TrainingSet, challenger: Challenger, decision: TierDecision) -> Fitted:
    return Fitted(ready=ready, challenger=challenger, tier=decision, figures={})


def compare(
    workspace: Workspace, tuned: TrainingSet, head: Challenger, fine_tune: Challenger, *, seed: int
) -> TierDecision:
    """Ask the rule, on examples that no trunk has seen: the field's, where these are enough."""
    examples = tuned.own
    held = examples.speaks
    if len(tuned.classes) < 2:
        return TierDecision(tier=Tier.HEAD, reason="with one class there is nothing to tell apart")
    truth = tuned.train.label
    defect = np.array([info.kind is Kind.DEFECT for info in tuned.classes])[truth]
    field = held & examples.field
    if min((defect & field).sum(), (~defect & field).sum()) >= LEAST_HELD:
        held = field
    weight = population_weight(examples)
    frames = np.where(weight > 0, weight, weight[weight > 0].min())[held]

    def said(challenger: Challenger) -> Answers:
        return Answers(
            probabilities=challenger.oof[held],
            labels=truth[held],
            prior=np.array(challenger.metadata.training_prior),
            frames=frames,
        )

    return choose_tier(
        said(head),
        said(fine_tune),
        examples.groups[held],
        tuned.classes,
        goal_of(get_inspection(workspace.catalog(), tuned.snapshot.inspection), workspace.policy()),
        worthwhile=workspace.policy().finetune.worthwhile,
        seed=seed,
    )


def fine_tuned(
    workspace: Workspace, ready: TrainingSet, origin: Origin, order: Order
) -> tuple[TrainingSet, dict[str, float]]:
    """Train the trunk, keep it in the bucket, and make the training set ready by it."""
    from training.finetune.tuned import TuneRequest, tune_on_a_worker, tune_trunk

    snapshot, policy = ready.snapshot, workspace.policy().finetune
    plain = float_of(workspace, snapshot.inspection, ready.trunk)
    if plain is None:
        raise ConfigError(
            f"inspection {snapshot.inspection}: the float original of its trunk {ready.trunk.id[:12]} is not known any "
            "more; delete the trunk in the bucket to choose anew, or retrain with --tier head"
        )
    labels = np.random.default_rng(order.seed).permutation(ready.train.label) if order.sabotage else ready.train.label
    request = TuneRequest(
        trunk=plain,
        weights=origin.weights,
        seen=origin.seen,
        examples=replace(ready.own, labels=labels),
        classes=ready.classes,
        frame_of=_frame_of(ready, order.runner),
        plan=plan_of(policy, order.seed),
        most_bytes=policy.memory_mb * 1024 * 1024,
    )
    folder, threads = workspace.cache / "finetune", policy.threads or len(os.sched_getaffinity(0))
    work = (
        partial(tune_on_a_worker, folder=folder, threads=threads)
        if order.runner.sends
        else partial(tune_trunk, folder=folder, threads=threads, show_progress=sys.stderr.isatty())
    )
    tuned = order.runner.start(
        f"fine-tune the trunk of {snapshot.inspection}", work, order.runner.share(request), cores=threads
    ).result()
    shipped = shipped_of(workspace, snapshot, tuned.trunk)
    keep_tuned(
        workspace.bucket(), snapshot.inspection, shipped, tuned.trunk, Origin(weights=tuned.weights, seen=tuned.seen)
    )
    figures = {
        "finetune_epochs": float(len(tuned.history)),
        "finetune_examples": float(tuned.shown),
        "finetune_loss": tuned.history[-1].loss,
        "seconds_finetune": tuned.seconds,
    }
    made = make_ready(
        workspace,
        snapshot,
        shipped,
        seen=tuned.seen,
        seen_by_champion=ready.seen_by_champion | origin.seen,
        runner=order.runner,
    )
    return made, figures


def plan_of(policy: FineTunePolicy, seed: int) -> FineTunePlan:
    """Return the plan that a policy asks for."""
    return FineTunePlan(
        stages=policy.stages,
        epochs=policy.epochs,
        rate=policy.rate,
        flips=policy.flips,
        quarter_turns=policy.quarter_turns,
        patience=policy.patience,
        precision=fastest_precision(),
        seed=seed,
    )


def _frame_of(ready: TrainingSet, runner: Runner) -> Callable[[int], bytes]:
    if runner.sends:
        return ready.images(ready.train).__getitem__  # a worker reads no lake
    return lambda i: ready.lake.image(*ready.train.location[i])[0]


def _fit(workspace: Workspace, ready: TrainingSet, order: Order) -> Promise[Challenger]:
    request = fit_request(workspace, ready, order.run_id, seed=order.seed, sabotage=order.sabotage, now=order.now)
    return order.runner.start(f"fit a head for {ready.snapshot.inspection}", fit, order.runner.share(request))
