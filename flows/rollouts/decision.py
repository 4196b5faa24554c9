"""What follows from what devices tell. Pure.

1. A version that more devices quarantined than the policy allows is bad: more than `max_quarantined`, and among many
devices more than `max_quarantined_share` of those that tried it.
2. A version is bad if any comparison says that a limit is surely exceeded.
3. Bad: the rollout is reverted, or halted, as the policy says. That holds for one that is held, too; one that is
halted is in a person's hands.
4. A stage is waited for: of its devices that were heard of, `confirm_share` must have confirmed. A device that was
reached and then fell silent goes on being waited for: a version that kills devices must not pass for want of
complaints.
5. From then on the soak time runs. A comparison that is unclear prolongs it.
6. Then the next stage begins, or waits for a person if it says `approve`. A stage that reaches no device is passed by.
7. After the last stage the rollout is done: the version becomes the channel's base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil, floor
from typing import Any

from data.policy import RolloutPolicy
from data.rollouts.acts import changed
from data.rollouts.records import ANOMALY, DEFECT, LOST, Record
from data.rollouts.values import Rollout, State
from flows.rollouts.comparison import Comparison, Finding, compare_latency, compare_rate

FLOW = "the release flow"
_NAMED = 20  # devices that are named; the count is always there


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the devices tell of a rollout.

    Attributes:
        staged: Devices that were reached.
        waited_for: Those of them that were heard of.
        confirmed, trying, failed, waiting: Of those, by what became of the version there.
        quarantined: Device -> reason.
        failures: Device -> reason; network or disk, tried again.
        controls: Devices of the channel that were not reached.
        comparisons: Each quantity, judged.
    """

    staged: int = 0
    waited_for: int = 0
    confirmed: int = 0
    trying: int = 0
    failed: int = 0
    waiting: int = 0
    quarantined: Mapping[str, str] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    controls: int = 0
    comparisons: tuple[Comparison, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with at most twenty devices named."""
        return {
            **{name: getattr(self, name) for name in _COUNTS},
            "quarantined": len(self.quarantined),
            "quarantines": dict(sorted(self.quarantined.items())[:_NAMED]),
            "failures": dict(sorted(self.failures.items())[:_NAMED]),
            "comparisons": [{**each.to_dict(), "sentence": each.sentence()} for each in self.comparisons],
        }

    def words(self) -> str:
        """In a few words, without numbers that change all the time."""
        parts = [f"{self.confirmed} of {self.waited_for} devices confirmed"]
        if self.trying:
            parts.append(f"{self.trying} trying")
        if self.failed:
            parts.append(f"{self.failed} could not fetch or store it yet")
        if self.quarantined:
            parts.append(f"{len(self.quarantined)} quarantined it")
        if silent := self.staged - self.waited_for:
            parts.append(f"{silent} not waited for")
        return ", ".join(parts)


_COUNTS = ("staged", "waited_for", "confirmed", "trying", "failed", "waiting", "controls")


def weigh(records: Mapping[str, Record], policy: RolloutPolicy) -> Evidence:
    """Collect what records show."""
    staged = {name: record for name, record in records.items() if record.joined >= 0}
    controls = [record for record in records.values() if record.joined < 0]
    asked = {name: record for name, record in staged.items() if record.present}
    by = {
        outcome: sum(record.outcome == outcome for record in asked.values())
        for outcome in ("confirmed", "trying", "failed", "waiting")
    }
    return Evidence(
        staged=len(staged),
        waited_for=len(asked),
        confirmed=by["confirmed"],
        trying=by["trying"],
        failed=by["failed"],
        waiting=by["waiting"],
        quarantined={n: r.reason or "no reason given" for n, r in staged.items() if r.outcome == "quarantined"},
        failures={n: r.reason or "no reason given" for n, r in staged.items() if r.outcome == "failed"},
        controls=len(controls),
        comparisons=_comparisons([*staged.values()], controls, policy),
    )


def _comparisons(staged: Sequence[Record], controls: Sequence[Record], policy: RolloutPolicy) -> tuple[Comparison, ...]:
    shown = {name for record in staged for name in record.after.quantities}
    classes = sorted(name for name in shown if name.startswith("class "))
    rates = [("share of defects", DEFECT, policy.max_class_shift, True)]
    rates += [(f"share of {name}", name, policy.max_class_shift, True) for name in classes]
    rates += [
        ("mean anomaly score", ANOMALY, policy.max_anomaly_shift, True),
        ("share of requests lost", LOST, policy.max_error_share, False),
    ]
    found = [
        compare_rate(
            name,
            quantity,
            staged,
            controls,
            limit=limit,
            min_frames=policy.min_frames,
            error=policy.false_stops / len(rates),
            two_sided=both,
        )
        for name, quantity, limit, both in rates
    ]
    return (*found, compare_latency(staged, controls, limit=policy.max_latency_ratio))


def bad_because(evidence: Evidence, policy: RolloutPolicy) -> str:
    """Why the version is bad, or "" (rules 1 and 2)."""
    refused = len(evidence.quarantined)
    tried = evidence.confirmed + refused
    allowed = max(policy.max_quarantined, floor(policy.max_quarantined_share * tried))
    if refused > allowed:
        named = "; ".join(f"{device}: {reason}" for device, reason in sorted(evidence.quarantined.items())[:3])
        more = f"; and {refused - 3} more" if refused > 3 else ""
        return f"{refused} of {tried} devices that tried it quarantined it, {allowed} may ({named}{more})"
    bad = [each.sentence() for each in evidence.comparisons if each.finding is Finding.BAD]
    return "; ".join(bad)


def decide(
    rollout: Rollout, evidence: Evidence, policy: RolloutPolicy, now: datetime, *, adds: Mapping[int, int]
) -> Rollout:
    """Return the rollout as it should stand now; equal but for `evidence` where nothing is to be done.

    Args:
        rollout: An open one.
        evidence: What its devices tell.
        policy: What is allowed.
        now: Aware time.
        adds: Stage -> devices that it reaches beyond those that are reached already.
    """
    rollout = replace(rollout, evidence=evidence.to_dict())
    if rollout.state is State.HALTED:
        return rollout
    if why := bad_because(evidence, policy):
        state = State.REVERTED if policy.on_bad == "revert" else State.HALTED
        return changed(rollout, state, who=FLOW, what=policy.on_bad, why=why, at=now)
    if rollout.state is not State.RUNNING:
        return rollout
    needed = max(1, ceil(policy.confirm_share * evidence.waited_for - 1e-9))
    if evidence.confirmed < needed:
        waits = "no device of the stage was heard of" if not evidence.waited_for else f"{needed} needed"
        return _waiting(replace(rollout, ready_at=None), f"{evidence.words()}; {waits}")
    ready_at = rollout.ready_at or now
    rollout = replace(rollout, ready_at=ready_at)
    stage = rollout.stages[rollout.stage]
    soak = timedelta(seconds=policy.soak_minutes * 60 if stage.soak_seconds is None else stage.soak_seconds)
    if now < ready_at + soak:
        return _waiting(rollout, f"{evidence.words()}; soaks until {ready_at + soak:%Y-%m-%d %H:%M} UTC")
    unclear = [each.sentence() for each in evidence.comparisons if each.finding is Finding.UNCLEAR]
    if unclear:
        return _waiting(rollout, f"more evidence is needed: {'; '.join(unclear)}")
    return _go_on(rollout, evidence, now, adds)


def _go_on(rollout: Rollout, evidence: Evidence, now: datetime, adds: Mapping[int, int]) -> Rollout:
    """Rules 6 and 7."""
    if rollout.at_last:
        return changed(rollout, State.DONE, who=FLOW, what="done", why=evidence.words(), at=now)
    for number in range(rollout.stage + 1, len(rollout.stages)):
        stage = rollout.stages[number]
        if stage.approve:
            why = f"stage {number + 1} ({stage.text}) waits for a person: andon rollout {rollout.inspection} advance"
            reached = replace(rollout, stage=number - 1)
            return changed(reached, State.HELD, who=FLOW, what="hold", why=why, at=now)
        if adds.get(number, 0) or number == len(rollout.stages) - 1:
            return changed(rollout, State.RUNNING, who=FLOW, what="advance", why=evidence.words(), at=now, stage=number)
    raise AssertionError(f"the last stage of {rollout.stages} is not the last")


def _waiting(rollout: Rollout, reason: str) -> Rollout:
    """The same rollout with the reason why it stands still; no revision, since nothing that is signed changes."""
    return replace(rollout, reason=reason)
