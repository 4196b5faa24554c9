"""How a rollout begins. Pure.

All devices are served at once, without stages, where those could protect nobody or delay what a person wants now:

1. The channel has no version yet: there is nothing to go back to but each device's factory engine.
2. The version is the one that is the base already: a rollout under way is taken back by moving the alias back.
3. The version is older than the base and was served to all of this channel before: an operator's rollback.
4. The policy names one stage, `100%`: it wants no stages.
5. Fewer devices follow the channel than the policy's `staged_from`: each device's own trial and probation protect it,
   and one or two others are no control group.

Else the first stage that reaches a device begins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from data.policy import RolloutPolicy
from data.rollouts.stages import Stage, parse_stages, reached, resolve
from data.rollouts.values import Event, Rollout, State
from edge_client.contract.releases import NamedEngine
from edge_client.contract.staging import DeviceFacts, takes


def begin(
    *,
    inspection: str,
    channel: str,
    version: str,
    engines: tuple[NamedEngine, ...],
    base_version: str,
    base: tuple[NamedEngine, ...],
    devices: Sequence[DeviceFacts],
    present: Collection[str],
    served_before: Collection[str],
    policy: RolloutPolicy,
    who: str,
    now: datetime,
) -> Rollout:
    """Return the rollout of a version to a channel.

    Args:
        inspection: What is inspected.
        channel: Whose devices.
        version: The model version.
        engines: Its files.
        base_version: The version that the devices run now; "" for none.
        base: Its files.
        devices: All that follow the channel.
        present: Names of those that were heard of lately.
        served_before: Versions that all of this channel's devices were served before.
        policy: Stages and the rest.
        who: Wanted it.
        now: Aware time.
    """
    salt = f"{inspection}/{channel}/{version}/{now.isoformat(timespec='seconds')}"
    stages = resolve(parse_stages(policy.stages), salt, [facts for facts in devices if facts.device in present])
    rollout = Rollout(
        inspection=inspection,
        channel=channel,
        version=version,
        engines=engines,
        base_version=base_version,
        base=base,
        salt=salt,
        stages=stages,
        started_at=now,
        stage_at=now,
    )
    why = _at_once(version, engines, base_version, base, len(devices), served_before, policy)
    if why:
        everyone = (Stage(text="100%"),)
        event = Event(at=now, who=who, what="done", why=why)
        return replace(rollout, stages=everyone, state=State.DONE, reason=why, events=(event,))
    adds = additions(replace(rollout, stage=-1), devices)
    stage = next((n for n in range(len(stages)) if adds.get(n)), len(stages) - 1)
    event = Event(at=now, who=who, what="begin", why=f"version {version} to {len(devices)} devices")
    return replace(rollout, stage=stage, reason="it has just begun", events=(event,))


def additions(rollout: Rollout, devices: Sequence[DeviceFacts]) -> Mapping[int, int]:
    """Stage -> devices that it reaches beyond those that the rollout has reached."""
    seen = {facts.device for facts in devices if is_reached(rollout, rollout.stage, facts)}
    return {
        number: sum(is_reached(rollout, number, facts) for facts in devices if facts.device not in seen)
        for number in range(rollout.stage + 1, len(rollout.stages))
    }


def is_reached(rollout: Rollout, stage: int, facts: DeviceFacts) -> bool:
    """Whether a device is staged when the rollout is at a stage."""
    return any(takes(cohort, rollout.salt, facts) for cohort in reached(rollout.stages, stage))


def first_stage(rollout: Rollout, facts: DeviceFacts) -> int | None:
    """The stage that reached a device; None while none has."""
    return next((stage for stage in range(rollout.stage + 1) if is_reached(rollout, stage, facts)), None)


def _at_once(
    version: str,
    engines: tuple[NamedEngine, ...],
    base_version: str,
    base: tuple[NamedEngine, ...],
    devices: int,
    served_before: Collection[str],
    policy: RolloutPolicy,
) -> str:
    """Why all devices are served at once, or ""."""
    if not base:
        return "the channel's first version"
    if [e.engine_sha256 for e in engines] == [e.engine_sha256 for e in base]:
        return "the version that the channel's devices run already"
    if _older(version, base_version) and version in served_before:
        return f"a rollback from version {base_version}"
    if len(parse_stages(policy.stages)) == 1:
        return "all at once, by policy"
    if devices < policy.staged_from:
        return f"all at once: {devices} devices follow the channel, stages begin at {policy.staged_from}"
    return ""


def _older(number: str, than: str) -> bool:
    return number.isdigit() and than.isdigit() and int(number) < int(than)
