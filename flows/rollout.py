"""What the fleet says about a version, in the words of its tags. Pure.

1. A device counts for the version whose engine it runs or tries, by digest, never by name. A version may have several
   files; a device that refused one of them has quarantined the version only if no other is left.
2. A device that quarantined an engine keeps saying so; its reason is shown with it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edge_client.contract.heartbeat import Heartbeat
from flows.tags import Tag

_LISTED = 20  # device names in a tag; the count is always there


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Where one engine stands in the fleet: device names by outcome."""

    running: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    trying: tuple[str, ...] = ()
    quarantined: dict[str, str] = field(default_factory=dict)  # device -> reason
    failed: dict[str, str] = field(default_factory=dict)  # device -> reason; network or disk: tried again
    latency_ms_p50: tuple[float, float] | None = None  # least and most over the devices that run it
    latency_ms_p99: tuple[float, float] | None = None
    frames: int = 0

    @property
    def seen(self) -> bool:
        """Whether any device has to do with the engine."""
        return bool(self.running or self.trying or self.quarantined or self.failed)


def rollout_of(digests: Sequence[str], heartbeats: Iterable[Heartbeat]) -> Rollout:
    """Collect what the newest heartbeats say about a version, given the digests of its files."""
    running: list[Heartbeat] = []
    confirmed, trying = [], []
    quarantined: dict[str, str] = {}
    failed: dict[str, str] = {}
    for heartbeat in sorted(heartbeats, key=lambda h: h.device):
        device, outcome = heartbeat.device, heartbeat.rollout.outcome
        concerned = heartbeat.rollout.engine_sha256 in digests
        if heartbeat.engine_sha256 in digests:
            running.append(heartbeat)
            if not (concerned and outcome in ("trial", "probation")):
                confirmed.append(device)
        if concerned and outcome in ("trial", "probation"):
            trying.append(device)
        if concerned and outcome == "failed":
            failed[device] = heartbeat.rollout.reason or "no reason given"
        if concerned and outcome == "quarantined":
            quarantined[device] = heartbeat.rollout.reason or "no reason given"
        refused = {bad.engine_sha256: bad.reason for bad in heartbeat.quarantined if bad.engine_sha256 in digests}
        if refused and set(digests) == set(refused):
            quarantined.setdefault(device, "; ".join(filter(None, refused.values())) or "no reason given")
    measured = [h for h in running if h.latency_ms_p99 > 0]
    return Rollout(
        running=tuple(h.device for h in running),
        confirmed=tuple(d for d in confirmed if d not in quarantined),
        trying=tuple(trying),
        quarantined=quarantined,
        failed=failed,
        latency_ms_p50=_span([h.latency_ms_p50 for h in measured]),
        latency_ms_p99=_span([h.latency_ms_p99 for h in measured]),
        frames=sum(h.frames for h in running),
    )


def rollout_tags(rollout: Rollout, channels: Sequence[str], followers: int) -> dict[str, str]:
    """Return a version's tags.

    Args:
        rollout: Where it stands.
        channels: The channels that carry it now.
        followers: Devices that follow those channels.
    """
    tags = {
        Tag.DEVICES: _listed(rollout.running),
        Tag.CONFIRMED: _listed(rollout.confirmed),
        Tag.TRYING: _listed(rollout.trying),
        Tag.QUARANTINED: _reasons({**rollout.failed, **rollout.quarantined}),
        Tag.LATENCY: _latency(rollout),
        Tag.FRAMES: str(rollout.frames),
    }
    if channels:
        tags[Tag.ROLLOUT_STATE] = _state(rollout, channels, followers)
    return {str(name): value for name, value in tags.items()}


def _state(rollout: Rollout, channels: Sequence[str], followers: int) -> str:
    where = " and ".join(channels)
    parts = [f"{len(rollout.confirmed)} of {followers} devices confirmed"]
    if rollout.trying:
        parts.append(f"{len(rollout.trying)} trying")
    if rollout.quarantined:
        parts.append(f"{len(rollout.quarantined)} quarantined it")
    if rollout.failed:
        parts.append(f"{len(rollout.failed)} could not fetch or store it yet")
    return f"on {where}: {', '.join(parts)}"


def _listed(devices: Sequence[str]) -> str:
    if not devices:
        return "0"
    more = f" and {len(devices) - _LISTED} more" if len(devices) > _LISTED else ""
    return f"{len(devices)}: {', '.join(devices[:_LISTED])}{more}"


def _reasons(reasons: dict[str, str]) -> str:
    if not reasons:
        return "0"
    more = f"; and {len(reasons) - _LISTED} more" if len(reasons) > _LISTED else ""
    told = "; ".join(f"{device}: {reason}" for device, reason in list(reasons.items())[:_LISTED])
    return f"{len(reasons)}: {told}{more}"


def _latency(rollout: Rollout) -> str:
    if rollout.latency_ms_p50 is None or rollout.latency_ms_p99 is None:
        return "not measured yet"
    return f"p50 {_range(rollout.latency_ms_p50)}, p99 {_range(rollout.latency_ms_p99)}"


def _range(span: tuple[float, float]) -> str:
    low, high = (f"{value:.1f}" for value in span)
    return low if low == high else f"{low} to {high}"


def _span(values: Sequence[float]) -> tuple[float, float] | None:
    return (min(values), max(values)) if values else None
