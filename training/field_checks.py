"""The gate's checks on field samples: what the line shows now (rules 4 and 6)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.decision import Check, Finding, Role
from training.evaluate import average_precisions, log_losses
from training.evidence import Evidence, PairedSet
from training.gate_policy import GatePolicy
from training.paired import Difference, Statistic, paired_differences
from training.recalibrate import recalibrated
from training.verdict_of_bounds import is_better, not_worse

FIELD = "field samples"
RANKING = "average precision of defects"
_LOSS = "log score"  # minus the log loss, so that more is better, as everywhere here
_KNOWLEDGE = "log score against the champion recalibrated to these labels"
_REFUSALS = 3  # checks on all field samples that can refuse


def field_checks(evidence: Evidence, policy: GatePolicy, *, harm: float, better: float, seed: int) -> list[Check]:
    """Compare both models on all field samples.

    Args:
        evidence: With a champion.
        policy: Margins.
        harm: Error level of the non-inferiority tests.
        better: Error level of superiority, shared by its two tests.
        seed: Of the bootstrap.
    """
    rows = evidence.field
    short = shortage(evidence, policy)
    if rows is None or rows.champion is None or short:
        return [_too_few(rows, policy, short)]
    found = compare(evidence, rows, policy, seed)
    defects, everything = counts(evidence, rows, defects_only=True), counts(evidence, rows, defects_only=False)
    refuse = policy.refuse_alpha / _REFUSALS

    def held(key: str, name: str, margin: float, role: Role, advice: dict[str, int]) -> Check:
        return not_worse(
            found[key],
            name=name,
            where=FIELD,
            margin=margin,
            alpha=harm,
            refuse=refuse,
            role=role,
            advice=advice,
        )

    return [
        held("ranking", RANKING, policy.field_margin, Role.PROVE, defects),
        held("loss", _LOSS, policy.log_loss_margin, Role.PROVE, everything),
        held("knowledge", _KNOWLEDGE, policy.log_loss_margin, Role.GUARD, {}),
        is_better(found["ranking"], name=RANKING, where=FIELD, alpha=better / 2, policy=policy, advice=defects),
        is_better(found["loss"], name=_LOSS, where=FIELD, alpha=better / 2, policy=policy, advice=everything),
    ]


def slice_checks(evidence: Evidence, policy: GatePolicy, seed: int) -> list[Check]:
    """Guard each device and station that has enough samples of its own."""
    rows = evidence.field
    if rows is None or rows.champion is None:
        return []
    parts = [(where, part) for where, part in slices(rows) if _judgeable(evidence, part, policy)]
    refuse = policy.refuse_alpha / max(1, len(parts))
    return [
        not_worse(
            compare(evidence, part, policy, seed)["ranking"],
            name=RANKING,
            where=f"field samples of {where}",
            margin=policy.field_margin,
            alpha=refuse,
            refuse=refuse,
            role=Role.GUARD,
            advice={},
        )
        for where, part in parts
    ]


def slices(rows: PairedSet) -> Iterator[tuple[str, PairedSet]]:
    """Yield the parts by device and by station, where there is more than one of a kind."""
    for kind, column in (("device", rows.device), ("station", rows.station)):
        names = np.unique(column)
        if len(names) < 2 or (kind == "station" and _same_parts(rows)):
            continue
        for name in names:
            yield f"{kind} {name}", rows.select(np.asarray(column == name))


def shortage(evidence: Evidence, policy: GatePolicy) -> dict[str, int]:
    """Class -> field labels wanting before anything can be judged; empty if there are enough."""
    rows = evidence.field
    present = np.zeros(0, dtype=np.bool_) if rows is None else evidence.is_defect(rows.labels)
    wanting: dict[str, int] = {}
    for kind, have in ((True, int(present.sum())), (False, int((~present).sum()))):
        names = [c for c, defect in zip(evidence.class_names, evidence.is_defect_class, strict=True) if defect is kind]
        missing = policy.min_positives - have
        if missing > 0:
            wanting |= {name: -(-missing // len(names)) for name in names}
    return wanting


def counts(evidence: Evidence, rows: PairedSet, *, defects_only: bool) -> dict[str, int]:
    """Class -> samples, of classes that have any."""
    tally = np.bincount(rows.labels, minlength=len(evidence.classes))
    return {
        name: int(n)
        for name, n, defect in zip(evidence.class_names, tally, evidence.is_defect_class, strict=True)
        if n and (defect or not defects_only)
    }


def compare(evidence: Evidence, rows: PairedSet, policy: GatePolicy, seed: int) -> dict[str, Difference]:
    """Return the differences in ranking, loss and knowledge on the same resamples."""
    assert rows.champion is not None
    truth = evidence.is_defect(rows.labels)
    risk_before, risk_after = evidence.risk(rows.champion), evidence.risk(rows.challenger)
    best_before = recalibrated(truth, risk_before, rows.weight)
    clip = policy.log_loss_clip

    def ranking(weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return average_precisions(truth, risk_before, weight), average_precisions(truth, risk_after, weight)

    loss = _mean_score(log_losses(rows.labels, rows.champion, clip), log_losses(rows.labels, rows.challenger, clip))
    knowledge = _mean_score(_binary_loss(truth, best_before, clip), _binary_loss(truth, risk_after, clip))
    return paired_differences(
        {"ranking": (ranking, truth, True), "loss": (loss, truth, False), "knowledge": (knowledge, truth, False)},
        rows.weight,
        truth.astype(np.int64),
        rows.group,
        resamples=policy.resamples,
        seed=seed,
    )


def _mean_score(before: NDArray[np.float64], after: NDArray[np.float64]) -> Statistic:
    """Minus the mean loss, so that more is better."""

    def score(weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        total = weight.sum(axis=1)
        return -(weight @ before) / total, -(weight @ after) / total

    return score


def _binary_loss(truth: NDArray[np.bool_], risk: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
    return log_losses(truth.astype(np.int64), np.stack([1 - risk, risk], axis=1), clip)


def _too_few(rows: PairedSet | None, policy: GatePolicy, short: dict[str, int]) -> Check:
    n = 0 if rows is None else len(rows)
    return Check(
        name=RANKING,
        where=FIELD,
        role=Role.PROVE,
        finding=Finding.UNDECIDED,
        sentence=f"{n} labelled field samples with a probability: at least {policy.min_positives} defects and "
        f"{policy.min_positives} ok parts are needed to judge at all",
        label_more=short,
    )


def _judgeable(evidence: Evidence, rows: PairedSet, policy: GatePolicy) -> bool:
    truth = evidence.is_defect(rows.labels)
    least = policy.min_positives
    return len(rows) >= policy.min_slice and int(truth.sum()) >= least and int((~truth).sum()) >= least


def _same_parts(rows: PairedSet) -> bool:
    """Whether each station is one device: then it says nothing new."""
    pairs = np.unique(np.stack([rows.device, rows.station]), axis=1).shape[1]
    return bool(pairs == len(np.unique(rows.device)) == len(np.unique(rows.station)))
