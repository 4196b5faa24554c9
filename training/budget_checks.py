"""Limits of an engine: size and latency are hard; parity of the shipped variant with float is judged with its n."""

from __future__ import annotations

from training.decision import Check, Finding, Role
from training.evaluate import clopper_pearson
from training.evidence import Evidence, Parity
from training.gate_policy import GatePolicy


def budget_checks(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Return a check for each thing that was measured."""
    checks = []
    before, size = evidence.size_bytes
    if size is not None:
        most = policy.max_engine_bytes
        checks.append(_budget("size", _megabytes(before), _megabytes(size), size <= most, most, _megabytes(most)))
    was, latency = evidence.latency_ms
    if latency is not None:
        limit = policy.latency_limit(was)
        checks.append(_budget("latency of one frame", _ms(was), _ms(latency), latency <= limit, limit, _ms(limit)))
    if evidence.parity is not None:
        checks.append(_parity(evidence.parity, policy))
    return checks


def _budget(name: str, before: str, after: str, good: bool, limit: float, most: str) -> Check:
    said = f"{name} is {after}, {'within' if good else 'over'} the budget of {most}"
    return Check(
        name=name,
        where="engine",
        role=Role.BUDGET,
        finding=Finding.HOLDS if good else Finding.FAILS,
        sentence=said,
        champion=before,
        challenger=after,
        limit=limit,
        budget=f"at most {most}",
    )


def _parity(parity: Parity, policy: GatePolicy) -> Check:
    share = parity.flips / parity.n if parity.n else 0.0
    low, _ = clopper_pearson(share, parity.n)
    finding = Finding.HOLDS if share <= policy.max_parity_flips else Finding.UNDECIDED
    if low > policy.max_parity_flips:
        finding = Finding.FAILS
    return Check(
        name="decisions changed by the shipped variant",
        where="engine",
        role=Role.GUARD,
        finding=finding,
        sentence=f"{parity.flips} of {parity.n} frames are decided otherwise by the shipped variant than in float; at "
        f"most {policy.max_parity_flips:.1%} are allowed",
        challenger=f"{parity.flips} of {parity.n}",
        limit=policy.max_parity_flips,
        budget=f"at most {policy.max_parity_flips:.1%}",
    )


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.2f} MB"


def _ms(latency: float | None) -> str:
    return "" if latency is None else f"{latency:.2f} ms"
