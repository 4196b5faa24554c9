"""What came of a simulation: the course of the rollout, what devices did, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from data.fleet import fleet_summary
from infra.simulation.link import KINDS, Meter
from infra.simulation.wire import wire_bytes

if TYPE_CHECKING:
    from infra.simulation.run import World

DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a device, or the cloud for it, asks of the bucket in a day.

    Attributes:
        requests: Kind → requests a device and day.
        object_bytes: Of the objects.
        wire_bytes: With headers, without TLS.
    """

    requests: Mapping[str, float]
    object_bytes: float
    wire_bytes: float

    @property
    def all_requests(self) -> float:
        """Requests of every kind."""
        return sum(self.requests.values())

    @staticmethod
    def of(meter: Meter, *, seconds: float, devices: int) -> Cost:
        """Take it from what was counted."""
        share = DAY / (seconds * devices)
        return Cost(
            requests={kind: meter.requests[kind] * share for kind in KINDS},
            object_bytes=sum(meter.bytes.values()) * share,
            wire_bytes=wire_bytes(meter) * share,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How the rollout went.

    Attributes:
        state: How it stands at the end.
        events: (hours after the release, what, why).
        reached: Devices that a stage reached, of those not revoked.
        served: Devices that the engine ever served.
        ever_confirmed: Devices that ever confirmed it.
        confirmed: Devices that run it, confirmed, at the end.
        quarantined: Devices that have it in quarantine at the end.
        elsewhere: Devices that run another engine at the end.
        hours: From the release until it was done, halted or reverted; None if it never was.
    """

    state: str
    events: Sequence[tuple[float, str, str]]
    reached: int
    served: int
    ever_confirmed: int
    confirmed: int
    quarantined: int
    elsewhere: int
    hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole; `bad_confirmed` are devices that ever confirmed an engine that was planted as bad."""

    plan: Mapping[str, Any]
    virtual_hours: float
    wall_seconds: float
    cpu_seconds: float
    course: Course
    bad_confirmed: int
    bad_served: int
    quiet: Cost
    cloud: Cost
    release_bytes: float
    states: Mapping[str, int]
    silences: int
    silent_rightly: int
    reboots: int
    lost: int
    forged: int
    replayed: int
    lies: int
    refused: Mapping[str, int]
    stale: int
    read_ms: float
    read_ms_most: float
    look_ms: float
    catalog_bytes_per_device: float
    peak_bytes: int
    without_engine: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        value = asdict(self)
        for name in ("quiet", "cloud"):
            value[name]["all_requests"] = getattr(self, name).all_requests
        return value


def make_report(world: World, *, wall_seconds: float, cpu_seconds: float) -> Report:
    """Look at a world whose time has passed."""
    from infra.simulation.run import peak_bytes

    plan, cloud = world.plan, world.cloud
    assert world.quiet is not None
    digest = world.engines["2"]
    bad = plan.bad != "none"
    statuses = [device.updater.status() for device in world.devices]
    silent = cloud.silences()
    dark = {device.identity.name for device in world.devices if device.dark}
    quiet = Cost.of(world.quiet.devices, seconds=world.quiet.seconds, devices=plan.devices)
    after = world.clock.seconds - world.released_at
    spent = wire_bytes(world.device_meter) - world.quiet_until_release
    course = _course(world, digest)
    return Report(
        plan=plan.to_dict(),
        virtual_hours=world.clock.seconds / 3600,
        wall_seconds=wall_seconds,
        cpu_seconds=cpu_seconds,
        course=course,
        bad_confirmed=course.ever_confirmed if bad else 0,
        bad_served=course.served if bad else 0,
        quiet=quiet,
        cloud=Cost.of(world.quiet.cloud, seconds=world.quiet.seconds, devices=plan.devices),
        release_bytes=max(0.0, spent / plan.devices - quiet.wire_bytes * after / DAY),
        states=fleet_summary(cloud.catalog).states,
        silences=len(silent),
        silent_rightly=sum(name in dark for name in silent),
        reboots=sum(device.reboots for device in world.devices),
        lost=world.link.lost,
        forged=world.thief.forged,
        replayed=world.thief.replayed,
        lies=world.thief.lied,
        refused=dict(Counter(_kind(reason) for reason in cloud.rejected)),
        stale=cloud.stale,
        read_ms=1000 * fmean(cloud.read_seconds or [0.0]),
        read_ms_most=1000 * max(cloud.read_seconds or [0.0]),
        look_ms=1000 * fmean(cloud.look_seconds or [0.0]),
        catalog_bytes_per_device=cloud.catalog_bytes / plan.devices,
        peak_bytes=peak_bytes(),
        without_engine=sum(not status.engine_sha256 for status in statuses),
    )


def _course(world: World, digest: str) -> Course:
    rollout = world.cloud.rollout
    assert rollout is not None
    statuses = [device.updater.status() for device in world.devices]
    quarantined = [any(q.engine_sha256 == digest for q in status.quarantined) for status in statuses]
    runs = [status.engine_sha256 == digest for status in statuses]
    start = world.clock.start.timestamp() + world.released_at
    return Course(
        state=rollout.state.value,
        events=[((event.at.timestamp() - start) / 3600, event.what, event.why) for event in rollout.events],
        reached=int(rollout.evidence.get("staged", 0)),
        served=sum(digest in device.ever_served for device in world.devices),
        ever_confirmed=sum(digest in device.ever_confirmed for device in world.devices),
        confirmed=sum(on and status.rollout.outcome == "confirmed" for on, status in zip(runs, statuses, strict=True)),
        quarantined=sum(quarantined),
        elsewhere=len(statuses) - sum(runs),
        hours=(world.ended_at - world.released_at) / 3600 if world.ended_at else None,
    )


def _kind(reason: str) -> str:
    """A refusal without its names."""
    for words in ("not signed by the key", "was revoked", "is not registered", "in the place of"):
        if words in reason:
            return words
    return reason[:60]


def lines_of(report: Report) -> list[str]:
    """The report in lines."""
    plan, course, quiet, cloud = report.plan, report.course, report.quiet, report.cloud
    devices = plan["devices"]
    ended = "did not end" if course.hours is None else f"{course.state} after {course.hours:.1f} h"
    lines = [
        f"{devices:,} devices at {plan['sites']} sites, {report.virtual_hours:.1f} hours in {report.wall_seconds:.0f} "
        f"s ({report.cpu_seconds:.0f} s of processor, {report.peak_bytes / 1e6:,.0f} MB at most)",
        f"  release    version 2, {'good' if plan['bad'] == 'none' else 'bad (' + plan['bad'] + ')'}: {ended}",
    ]
    lines += [f"             {hours:6.2f} h  {what}: {why}" for hours, what, why in course.events[-12:]]
    lines += [
        f"  devices    {course.reached:,} reached, {course.served:,} served it, {course.ever_confirmed:,} ever "
        f"confirmed it; at the end {course.confirmed:,} run it, {course.quarantined:,} have it in quarantine, "
        f"{course.elsewhere:,} run another",
        f"  fleet      {', '.join(f'{n:,} {state}' for state, n in report.states.items() if n)}; "
        f"{report.silences:,} alarms of silence, {report.silent_rightly:,} of them rightly",
        f"  a device   {quiet.all_requests:,.0f} requests a day ({_kinds(quiet)}), {quiet.object_bytes / 1e3:,.0f} kB "
        f"of objects, {quiet.wire_bytes / 1e3:,.0f} kB with headers; this release {report.release_bytes / 1e3:,.1f} kB",
        f"  the cloud  {cloud.all_requests:,.0f} requests a device and day ({_kinds(cloud)}); a minute's heartbeats "
        f"{report.read_ms:.0f} ms (most {report.read_ms_most:.0f}), the rollout {report.look_ms:.0f} ms; "
        f"{report.catalog_bytes_per_device / 1e3:.1f} kB of catalog a device",
    ]
    if report.reboots or report.lost:
        lines.append(f"  troubles   {report.reboots:,} reboots, {report.lost:,} requests lost")
    if report.forged or report.lies:
        refused = ", ".join(f"{n:,} {why}" for why, n in report.refused.items())
        lines.append(
            f"  theft      {report.forged} forged for others, {report.replayed} replayed, {report.lies} lies in their "
            f"own name; refused: {refused or 'none'}; {report.stale} were stale"
        )
    if report.without_engine:
        lines.append(f"  WRONG      {report.without_engine} devices without an engine")
    return lines


def _kinds(cost: Cost) -> str:
    return ", ".join(f"{n:,.0f} {kind}" for kind, n in cost.requests.items() if n >= 0.5)
