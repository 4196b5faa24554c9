"""What the fleet's table says of a device. No I/O.

1. A device has one state: `revoked`; else `unheard`, while it never sent a heartbeat; else `silent`, from an alarm
   until it is heard again; else `off`, if its client was ended in order; else what it says of its own health.
2. It is an alarm that nothing was heard for `silent_after` of the device's own intervals, and a grace; a device that
   names an absurd interval, or none, is held to the policy.
3. Nobody waits for a device that is off: lines rest at night.
4. Silence is told by the bucket's clock and ours, never by the device's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from data.policy import FleetPolicy
from edge_client.contract.signing import canonical_json

OK, DEGRADED, SILENT, UNHEARD, OFF, REVOKED = "ok", "degraded", "silent", "unheard", "off", "revoked"
#: States, the ones that want a person first.
STATES = (SILENT, DEGRADED, UNHEARD, OK, OFF, REVOKED)
_LONGEST_PROBLEM = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What enrolment knows of a device."""

    device: str
    site: str
    station: str
    inspection: str
    channel: str
    registered_at: datetime
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One row of the fleet's table; see `FleetDeviceRow`."""

    site: str
    station: str
    inspection: str
    channel: str
    state: str
    outcome: str
    engine_id: str
    client_version: str
    problem: str
    frames: int
    latency_ms_p99: float
    spool_bytes: int
    spool_share: float
    heard_at: datetime | None
    silent_at: datetime | None

    @property
    def cell(self) -> tuple[str, str, str, str, str, str]:
        """With which devices it is counted."""
        return (self.site, self.inspection, self.state, self.outcome, self.engine_id, self.client_version)


def facts_of(
    known: Registration, said: Mapping[str, Any] | None, heard_at: datetime | None, policy: FleetPolicy
) -> Facts:
    """Describe a device.

    Args:
        known: What enrolment knows.
        said: The payload of its newest heartbeat, which was checked; None if there is none.
        heard_at: When that heartbeat came.
        policy: Says when silence is an alarm.
    """
    says: Mapping[str, Any] = said or {}
    rollout: Mapping[str, Any] = says.get("rollout") or {}
    heard = None if said is None else heard_at
    return Facts(
        site=known.site,
        station=known.station,
        inspection=str(says.get("inspection", known.inspection)),
        channel=str(says.get("channel", known.channel)),
        state=_state(known, says),
        outcome=str(rollout.get("outcome", "none")),
        engine_id=str(says.get("engine_id", "")),
        client_version=str(says.get("client_version", "")),
        problem=_problem(says, rollout),
        frames=int(says.get("frames", 0)),
        latency_ms_p99=float(says.get("latency_ms_p99", 0.0)),
        spool_bytes=int(says.get("spool_bytes", 0)),
        spool_share=int(says.get("spool_bytes", 0)) / limit if (limit := int(says.get("spool_limit", 0))) else 0.0,
        heard_at=heard,
        silent_at=None if known.revoked or says.get("ended") else silent_at(heard, known.registered_at, says, policy),
    )


def silent_at(
    heard_at: datetime | None, registered_at: datetime, says: Mapping[str, Any], policy: FleetPolicy
) -> datetime:
    """From when on silence is an alarm (rule 2)."""
    longest = timedelta(hours=policy.silent_at_most_hours)
    if heard_at is None:
        return registered_at + longest
    interval = float(says.get("interval_seconds", 0.0)) or policy.heartbeat_seconds
    patience = min(interval * policy.silent_after + policy.silent_grace_seconds, longest.total_seconds())
    return heard_at + timedelta(seconds=patience)


def is_news(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    """Whether a heartbeat says something of substance that the one before did not."""
    return before is None or _substance(before) != _substance(now)


def _substance(says: Mapping[str, Any]) -> bytes:
    """As JSON: what was stored has lists where what came just now has tuples."""
    told = ("engine_sha256", "slot", "health", "rollout", "quarantined", "client_version", "ended")
    return canonical_json({name: says.get(name) for name in told})


def _state(known: Registration, says: Mapping[str, Any]) -> str:
    """Rule 1, but for silence."""
    if known.revoked:
        return REVOKED
    if not says:
        return UNHEARD
    if says.get("ended"):
        return OFF
    return OK if says["health"] == "ok" else DEGRADED


def _problem(says: Mapping[str, Any], rollout: Mapping[str, Any]) -> str:
    problems = says.get("problems") or []
    first = str(problems[0]) if problems else str(rollout.get("reason", ""))
    return first[:_LONGEST_PROBLEM]
