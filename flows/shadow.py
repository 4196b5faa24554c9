"""Shadow: a version runs unseen on a share of the frames, and what devices say of it becomes a table and a tag.

1. A shadow is started by a person, never by the alias `challenger`: retraining moves that alias by itself, and a shadow
   runs a new engine on the fleet's processors. Without a version named, the alias says which.
2. Its engine must be approved as any other; the gate's decision does not matter, since nobody acts on its answers.
3. One shadow at a time for each channel; a new one takes the old one's place, and counts begin anew.
4. Each device draws its frames at random, whatever they look like: what was seen is a plain sample of each device's
   frames, and a rate's interval is Clopper and Pearson's. Devices are pooled by the frames that each saw.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from edge_client.contract.errors import AndonError
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.releases import Cohort, NamedEngine, engine_target, selftest_target
from edge_client.contract.shadow import Shadow, ShadowReport, shadow_target
from flows.registry import Registry
from flows.registry_api import ModelVersion
from flows.releases.repository import ReleaseRepository
from flows.tags import Tag

CHALLENGER = "challenger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of frames, with its 95 % interval."""

    count: int
    n: int
    value: float
    low: float
    high: float

    @staticmethod
    def of(count: int, n: int) -> Rate:
        """Clopper and Pearson's interval; everything is possible while nothing was seen."""
        from data.intervals import clopper_pearson  # scipy: only when a rate is asked for

        low, high = clopper_pearson(count, n)
        return Rate(count=count, n=n, value=count / n if n else float("nan"), low=low, high=high)

    def __str__(self) -> str:
        if not self.n:
            return "no frame yet"
        return f"{100 * self.value:.2f} % [{100 * self.low:.2f}, {100 * self.high:.2f}], n = {self.n}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceShadow:
    """What one device says of a challenger."""

    device: str
    state: str
    reason: str
    seen: int
    skipped: int
    failed: int
    disagreed: Rate
    cpu_ms_per_frame: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowResult:
    """What the fleet says of a challenger.

    Attributes:
        disagreed: Frames on which class, verdict or, by far, probability differed.
        verdicts: Frames on which the verdict did.
        pairs: ``ours > theirs`` → its rate, most frequent first.
    """

    engine_id: str
    devices: tuple[DeviceShadow, ...]
    disagreed: Rate
    verdicts: Rate
    pairs: Mapping[str, Rate] = field(default_factory=dict)


def start(
    registry: Registry,
    repository: ReleaseRepository,
    inspection: str,
    *,
    version: str | None,
    channel: str,
    share: float,
    cpu_share: float,
    cohort: Cohort,
    life: timedelta,
    now: datetime,
) -> Shadow:
    """Let a version run unseen on the devices of a channel.

    Args:
        registry: Where versions are.
        repository: Where the document goes.
        inspection: The inspection.
        version: Its number; None for the one that the alias `challenger` names.
        channel: Whose devices.
        share: Of their frames.
        cpu_share: Most of a core's time.
        cohort: Which of the devices.
        life: After which it ends by itself.
        now: The time.

    Raises:
        AndonError: There is no such version, or it is what the channel carries.
        BadRelease: Its engine cannot be approved.
    """
    found = _version(registry, inspection, version)
    carried = repository.read_channel(inspection, channel)
    if carried is None:
        raise AndonError(
            f"channel {channel!r} of {inspection!r} carries nothing yet: a shadow needs something to differ from"
        )
    digest = found.tags[Tag.ENGINE_SHA256]
    if digest == carried.engine_sha256:
        raise AndonError(f"version {found.number} is what channel {channel!r} carries: name another one with --version")
    engine = registry.engine_bytes(found)
    engine_id = found.tags[Tag.ENGINE_ID]
    facts = {"version": found.number, "run_id": found.run_id}
    repository.publish_engine(inspection, engine_id, engine, registry.selftest_bytes(found), facts)
    document = Shadow(
        inspection=inspection,
        channel=channel,
        version=found.number,
        engine=NamedEngine(
            engine_path=engine_target(inspection, engine_id),
            engine_sha256=digest,
            engine_bytes=len(engine),
            engine_id=engine_id,
            selftest_path=selftest_target(inspection, engine_id),
        ),
        share=share,
        cpu_share=cpu_share,
        cohort=cohort,
        salt=f"shadow/{inspection}/{channel}/{found.number}/{secrets.token_hex(4)}",
        expires_at=now + life,
        issued_at=now,
    )
    repository.put_document(shadow_target(inspection, channel), document.to_json())
    return document


def stop(repository: ReleaseRepository, inspection: str, channel: str, now: datetime) -> Shadow | None:
    """End a channel's shadow; its counts stay in the heartbeats. Returns what it was, None if there was none."""
    document = read(repository, inspection, channel)
    if document is None or document.share == 0:
        return None
    ended = replace(document, share=0.0, issued_at=now)
    repository.put_document(shadow_target(inspection, channel), ended.to_json())
    return document


def read(repository: ReleaseRepository, inspection: str, channel: str) -> Shadow | None:
    """Return a channel's shadow, ended or not; None if there never was one."""
    data = repository.read_document(shadow_target(inspection, channel))
    return None if data is None else Shadow.from_json(data)


def result_of(engine_sha256: str, heartbeats: Iterable[Heartbeat]) -> ShadowResult | None:
    """Collect what the newest heartbeats say of a challenger; None when none speaks of it."""
    told = [
        (h.device, h.shadow) for h in heartbeats if h.shadow is not None and h.shadow.engine_sha256 == engine_sha256
    ]
    if not told:
        return None
    told.sort(key=lambda pair: pair[0])
    reports = [report for _, report in told]
    seen = sum(r.seen for r in reports)
    pairs: Counter[str] = Counter()
    for report in reports:
        pairs.update(report.pairs)
    return ShadowResult(
        engine_id=reports[0].engine_id,
        devices=tuple(_of_device(device, report) for device, report in told),
        disagreed=Rate.of(sum(r.disagreed for r in reports), seen),
        verdicts=Rate.of(sum(r.verdicts for r in reports), seen),
        pairs={pair: Rate.of(min(count, seen), seen) for pair, count in pairs.most_common()},
    )


def tag_of(result: ShadowResult) -> str:
    """Say it in a version's tag."""
    devices = sum(d.seen > 0 for d in result.devices)
    worst = ", ".join(f"{pair}: {rate.count}" for pair, rate in list(result.pairs.items())[:5])
    refused = [f"{d.device}: {d.reason}" for d in result.devices if d.state == "refused"]
    told = f"disagrees on {result.disagreed}, on {devices} devices"
    return "; ".join(filter(None, [told, worst, *(f"refused by {r}" for r in refused[:5])]))[:4000]


def tag_shadows(registry: Registry, inspection: str, heartbeats: Sequence[Heartbeat]) -> list[tuple[str, str]]:
    """Write what devices say of challengers into the tags of their versions; only what changed."""
    digests = {h.shadow.engine_sha256 for h in heartbeats if h.shadow is not None}
    if not digests:
        return []
    changed = []
    for version in registry.api.versions(inspection):
        digest = version.tags.get(Tag.ENGINE_SHA256, "")
        result = result_of(digest, heartbeats) if digest in digests else None
        if result is None or version.tags.get(Tag.SHADOW) == tag_of(result):
            continue
        registry.api.tag_version(inspection, version.number, {Tag.SHADOW: tag_of(result)})
        changed.append((inspection, version.number))
    return changed


def _version(registry: Registry, inspection: str, number: str | None) -> ModelVersion:
    if number is None:
        model = registry.api.model(inspection)
        number = model.aliases.get(CHALLENGER) if model is not None else None
        if number is None:
            raise AndonError(f"no version of {inspection!r} has the alias {CHALLENGER}: name one with --version")
    found = registry.api.version(inspection, number)
    if not found.tags.get(Tag.ENGINE_SHA256):
        raise AndonError(f"version {number} of {inspection!r} has no engine: only what `andon retrain` made can be run")
    return found


def _of_device(device: str, report: ShadowReport) -> DeviceShadow:
    answered = report.seen + report.failed
    return DeviceShadow(
        device=device,
        state=report.state,
        reason=report.reason,
        seen=report.seen,
        skipped=report.skipped,
        failed=report.failed,
        disagreed=Rate.of(min(report.disagreed, report.seen), report.seen),
        cpu_ms_per_frame=1e3 * report.cpu_seconds / answered if answered else 0.0,
    )
