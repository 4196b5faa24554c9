"""Fit and judgement of one challenger, and what is kept of it in MLflow."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from data.inspections import get_inspection
from data.workspace import Workspace
from edge_client.contract.engine_metadata import Kind
from flows.champion import Champion
from flows.code_version import code_version
from flows.evidence import gather
from flows.registry import ChallengerRecord, OutOfFold
from flows.retrain_settings import gate_of, goal_of
from flows.tags import Tag
from flows.training_set import TrainingSet
from flows.trunks import float_of
from flows.twins import twins
from training.comparison import comparison_of
from training.finetune.tier import Tier, TierDecision
from training.fit import Challenger, FitRequest
from training.gate import Decision, Evidence, GatePolicy, judge
from training.gate_report import render

#: Columns of the snapshot that MLflow's page of a data set shows.
_SHOWN = ["sample_id", "image_sha256", "label", "origin", "split", "group", "device", "station", "probability"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """A challenger with the gate's decision."""

    ready: TrainingSet
    challenger: Challenger
    champion: Champion | None
    evidence: Evidence
    decision: Decision
    report: str
    tier: TierDecision = field(default_factory=lambda: TierDecision(tier=Tier.HEAD, reason=""))
    figures: Mapping[str, float] = field(default_factory=dict)


def fit_request(
    workspace: Workspace, ready: TrainingSet, run_id: str, *, seed: int, sabotage: bool, now: datetime
) -> FitRequest:
    """Say what is fitted, on the training side; with `sabotage` on shuffled labels."""
    examples = ready.examples
    if sabotage:
        labels = np.random.default_rng(seed).permutation(examples.labels)
        examples = replace(examples, labels=labels)
    return FitRequest(
        inspection=ready.snapshot.inspection,
        classes=ready.classes,
        trunk=ready.trunk,
        examples=examples,
        patches=ready.patches,
        selftest_images=ready.selftest_images(),
        unlabelled=ready.unlabelled,
        run_id=run_id,
        snapshot_id=ready.snapshot.id,
        created_at=now.isoformat(timespec="seconds"),
        seed=seed,
        goal=goal_of(get_inspection(workspace.catalog(), ready.snapshot.inspection), workspace.policy()),
        field_frames=ready.field_frames,
    )


def judge_challenger(
    workspace: Workspace,
    ready: TrainingSet,
    challenger: Challenger,
    champion: Champion | None,
    *,
    previous_challengers: int,
    tier: TierDecision | None = None,
    figures: Mapping[str, float] | None = None,
) -> Judged:
    """Collect evidence, ask the gate, write its report."""
    stated = workspace.policy()
    policy = GatePolicy.from_dict(gate_of(get_inspection(workspace.catalog(), ready.snapshot.inspection), stated))
    evidence = gather(
        ready,
        challenger,
        champion,
        plain=float_of(workspace, ready.snapshot.inspection, ready.trunk),
        parity_frames=policy.parity_frames,
    )
    decision = judge(
        evidence,
        policy,
        previous_challengers=previous_challengers,
        drawn_share=1 - stated.draw.chosen_share,
    )
    return Judged(
        ready=ready,
        challenger=challenger,
        champion=champion,
        evidence=evidence,
        decision=decision,
        report=render(
            decision, evidence, ready.image_of, title=f"{ready.snapshot.inspection}: a challenger at the gate"
        ),
        tier=tier or TierDecision(tier=Tier.HEAD, reason=""),
        figures=figures or {},
    )


def record_of(workspace: Workspace, judged: Judged, *, key: str, seed: int, sabotage: bool) -> ChallengerRecord:
    """Return what is kept of a judged challenger."""
    ready, challenger, decision = judged.ready, judged.challenger, judged.decision
    snapshot = ready.snapshot
    labels = Counter(ready.classes[k].name for k in ready.train.label.tolist())
    champion = judged.champion.version.number if judged.champion else ""
    return ChallengerRecord(
        inspection=snapshot.inspection,
        key=key,
        engine=challenger.engine,
        selftest=challenger.selftest,
        metadata=challenger.metadata,
        snapshot_id=snapshot.id,
        snapshot_source=f"s3://{workspace.bucket_settings.bucket}/{snapshot.path}",
        snapshot_rows=snapshot.rows.select(_SHOWN).to_pandas(),
        params=params_of(judged, seed=seed, sabotage=sabotage),
        metrics=metrics_of(judged),
        plans=plans_of(challenger),
        out_of_fold=OutOfFold(
            ids=tuple(challenger.oof_ids.tolist()),
            classes=tuple(info.name for info in ready.classes),
            probabilities=challenger.oof,
        ),
        gate_report=judged.report,
        decision=decision_of(judged),
        description=described(judged, labels, sabotage=sabotage),
        tags={
            Tag.SEED: str(seed),
            Tag.CODE: code_version(),
            Tag.LABELS: counted(labels),
            Tag.DECISION: decision.answer.value,
            Tag.REASONS: "\n".join(decision.reasons),
            Tag.LABEL_MORE: counted(decision.label_more),
            Tag.COMPARED_WITH: champion,
            Tag.SPENDS: "yes" if decision.error_budget and decision.error_budget.share else "no",
            Tag.SABOTAGED: "yes" if sabotage else "no",
            Tag.TIER: judged.tier.tier.value,
            Tag.TIER_REASON: judged.tier.reason,
        },
        variants=twins(workspace, ready, challenger),
    )


def params_of(judged: Judged, *, seed: int, sabotage: bool) -> dict[str, str | int | float | bool]:
    """Return the run's parameters."""
    ready, chosen = judged.ready, judged.challenger.plan
    params: dict[str, str | int | float | bool] = {
        "seed": seed,
        "code": code_version(),
        "snapshot": ready.snapshot.id,
        "trunk": ready.trunk.id[:12],
        "variant": ready.trunk.variant,
        "input_size": ready.trunk.input_size,
        "input": str(ready.trunk.choice),
        "classes": ", ".join(info.name for info in ready.classes),
        "defect_classes": ", ".join(info.name for info in ready.classes if info.kind is Kind.DEFECT),
        "unlabelled_frames": len(ready.unlabelled),
        "pasted_defects": int((~ready.examples.real).sum()),
        "champion": judged.champion.version.number if judged.champion else "none",
        "sabotaged_labels": sabotage,
        "tier": judged.tier.tier.value,
    }
    if chosen is not None:
        params |= {
            "plan": str(chosen.plan),
            "rebalance": chosen.plan.rebalance.value,
            "C": chosen.plan.regularisation,
            "field_weight": chosen.plan.field_weight,
            "plan_measure": chosen.measure,
        }
    return params


def metrics_of(judged: Judged) -> dict[str, float]:
    """Return the run's metrics: the fit's, where its time went, and what the gate measured."""
    challenger, evidence = judged.challenger, judged.evidence
    metrics = {**challenger.metrics, **judged.tier.metrics(), **judged.figures}
    metrics |= {f"seconds_{name}": value for name, value in challenger.seconds.items()}
    metrics["latency_ms"] = evidence.latency_ms[1] or math.nan
    if evidence.parity is not None and evidence.parity.n:
        metrics["gate_parity_changed"] = evidence.parity.flips / evidence.parity.n
    for name, rows in (("field", evidence.field), ("golden", evidence.golden)):
        metrics[f"gate_{name}_samples"] = float(len(rows.ids)) if rows else 0.0
    return {name: float(value) for name, value in metrics.items() if np.isfinite(value)}


def plans_of(challenger: Challenger) -> pd.DataFrame:
    """Return the table of plans that were compared, best first."""
    rows = [
        {
            "plan": str(row.plan),
            "rebalance": row.plan.rebalance.value,
            "C": row.plan.regularisation,
            "field_weight": row.plan.field_weight,
            "score": row.score,
            "deals": len(row.repeats),
            "note": row.note,
            "chosen": row.plan == challenger.plan.plan,
        }
        for row in (challenger.plan.table if challenger.plan else ())
        if challenger.plan is not None
    ]
    columns = ["plan", "rebalance", "C", "field_weight", "score", "deals", "note", "chosen"]
    return pd.DataFrame(rows, columns=columns)


def decision_of(judged: Judged) -> dict[str, Any]:
    """Return the gate's decision as JSON values."""
    return {
        **judged.decision.to_dict(),
        "metrics": metrics_of(judged),
        "champion": judged.champion.version.number if judged.champion else None,
        "comparison": comparison_of(judged.evidence),
    }


def described(judged: Judged, labels: Mapping[str, int], *, sabotage: bool) -> str:
    """Return the version's description, Markdown, as MLflow's page shows it."""
    decision, champion = judged.decision, judged.champion
    against = f"version {champion.version.number}" if champion else "nothing: it is the first"
    lines = [
        f"**{decision.answer.value}**, judged against {against}.",
        *(f"- {reason}" for reason in decision.reasons),
        "",
        f"Trained on {sum(labels.values())} labelled samples ({counted(labels)}).",
    ]
    if judged.challenger.plan is not None:
        lines.append(f"Plan: {judged.challenger.plan.plan}.")
    if judged.tier.reason:
        lines.append(f"Tier {judged.tier.tier.value}: {judged.tier.reason}.")
    if judged.evidence.alarms:
        lines.append(f"Anomaly score: {judged.evidence.alarms}.")
    if decision.label_more:
        lines.append(f"To decide, label more: {counted(decision.label_more)}.")
    if sabotage:
        lines.append("Its training labels were shuffled on purpose, to show that the gate refuses the result.")
    return "\n".join([*lines, "", "See the artifact `gate_report.html` of its run."])


def counted(counts: Mapping[str, int]) -> str:
    """Return counts in words.

    >>> counted({"ok": 310, "defect": 24})
    'defect 24, ok 310'
    """
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
