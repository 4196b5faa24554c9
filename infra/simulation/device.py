"""One simulated device: the client's own updater and heartbeat, driven by virtual time.

It does what the client's threads do, when they would: it looks for releases when `PollSchedule` says so, serves its
line, and tells of itself when `HeartbeatWriter` finds that something changed or the interval is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_client.config import Config, DeviceConfig, InspectionConfig
from edge_client.contract.heartbeat import Heartbeat, Quarantined
from edge_client.counters import Counts
from edge_client.heartbeat_writer import HeartbeatWriter
from edge_client.updates.polling import PollSchedule
from edge_client.updates.rules import Limits, Outcome, Phase
from edge_client.updates.trial import TrialOrder, TrialReport, answer_selftest, try_engine
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig
from edge_client.vital_signs import describe
from infra.simulation.clocks import DeviceClock, VirtualClock
from infra.simulation.engines import CLASSES
from infra.simulation.lines import Behaviour, Line, Span
from infra.simulation.link import Link
from infra.simulation.plan import Plan

_ON_PROBATION = 30.0  # seconds between looks at a line whose engine is being watched
_OBSERVED = {
    Phase.PROBATION: 200,
    Phase.STEADY: 20,
    Phase.STAGED: 20,
}  # answers that the updater's watch sees of a span


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a device is."""

    name: str
    site: str
    station: str
    key: Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What all devices share.

    Attributes:
        folder: Theirs lie in it.
        factory_engine: The engine that they come with.
        root: The trust anchor.
        inspection: What they inspect.
        behaviour: How an engine fares in service, by its digest.
    """

    folder: Path
    factory_engine: Path
    root: bytes
    inspection: str
    behaviour: Callable[[str], Behaviour]


class SimulatedDevice:
    """A device and its line.

    Args:
        identity: Who it is.
        ground: What is shared.
        link: Its way to the bucket.
        clock: The true time.
        plan: What is simulated.
        random: Its own.
        poisoned: It says of every release that it failed.
        child: Its trials run in a child process.
    """

    def __init__(
        self,
        identity: Identity,
        ground: Ground,
        link: Link,
        clock: VirtualClock,
        plan: Plan,
        *,
        random: Random,
        poisoned: bool = False,
        child: bool = False,
    ) -> None:
        self.identity = identity
        self.poisoned = poisoned
        self.dark = False
        self.ever_confirmed: set[str] = set()
        self.ever_served: set[str] = set()
        self.reboots = 0
        self._ground, self._link, self._true, self._plan, self._random = ground, link, clock, plan, random
        self._clock = DeviceClock(
            clock,
            ahead_seconds=random.gauss(0.0, plan.skew_seconds) if plan.skew_seconds else 0.0,
            from_epoch=random.random() < plan.without_clock,
        )
        self._tries: Callable[[TrialOrder], TrialReport] = try_engine if child else answer_selftest
        self._line = Line(plan.frames_per_second, random)
        self._at = self._poll_at = clock.seconds
        self._begin()

    @property
    def updater(self) -> Updater:
        """The device's updater, for who looks into it."""
        return self._updater

    def step(self) -> float:
        """Do what is due now. Returns when there is something to do again."""
        now = self._true.seconds
        self._serve(now)
        if now >= self._poll_at and not self.dark:
            outcome = self._updater.check_once()
            self._poll_at = now + self._schedule.after(outcome.check)
        self._note()
        if self.dark:
            return now + self._plan.heartbeat_seconds
        self._writer.send_if_due()
        due = [self._poll_at, self._writer.due_at() or now]
        if self._updater.status().phase == Phase.PROBATION.value:
            due.append(now + _ON_PROBATION)
        return max(now + 0.5, min(due))  # the client looks twice a second

    def reboot(self) -> None:
        """End in order and begin again from the folder; counts begin anew, the state does not."""
        self._updater.stop()
        self.reboots += 1
        self._begin()

    def stop(self) -> None:
        """End in order."""
        self._updater.stop()

    def say(self) -> Heartbeat:
        """What the next heartbeat says."""
        told = describe(
            self._config,
            at=self._clock.now(),
            counts=self._counted(),
            update=self._updater.status(),
            figures=None,
            problems=self._updater.status().problems,
        )
        return _poisoned(told) if self.poisoned else told

    def _begin(self) -> None:
        who, ground, plan = self.identity, self._ground, self._plan
        folder = ground.folder / who.name
        self._config = Config(
            device=DeviceConfig(
                name=who.name, site=who.site, station=who.station, key=folder / "device.key", state=folder
            ),
            inspection=InspectionConfig(name=ground.inspection, factory_engine=ground.factory_engine),
        )
        self._updater = Updater.open(
            UpdaterConfig(
                device=who.name,
                site=who.site,
                station=who.station,
                hardware=self._config.device.hardware_name(),
                inspection=ground.inspection,
                channel=self._config.inspection.channel,
                state=folder / "updates",
                factory_engine=ground.factory_engine,
                root=ground.root,
                poll_seconds=plan.poll_seconds,
                limits=Limits(probation_frames=self._config.update.probation_frames),
            ),
            self._link,
            clock=self._clock,
            random=self._random,
            tries=self._tries,
        )
        self._writer = HeartbeatWriter(
            self._link,
            self.say,
            who.key,
            folder / "heartbeat.json",
            interval_seconds=plan.heartbeat_seconds,
            clock=self._clock,
            jitter=self._random.random,
        )
        self._schedule = PollSchedule(plan.poll_seconds, self._random)
        self._poll_at = self._true.seconds
        self._frames, self._lost, self._latency = 0, 0, 0.0
        self._classes: Counter[str] = Counter(dict.fromkeys((name for name, _ in CLASSES), 0))

    def _serve(self, now: float) -> None:
        """Let the line run up to now, and the updater see how its engine fares."""
        seconds, self._at = now - self._at, now
        engine = self._updater.slot.engine
        span = self._line.run(self._ground.behaviour(engine.sha256), at=now, seconds=seconds)
        most = _OBSERVED[Phase(self._updater.status().phase)]
        for ok in self._answers(span, most):
            with self._updater.slot.lease() as served:
                self._updater.observe(ok, span.latency_ms, served.sha256)
            if served.sha256 != engine.sha256:
                break  # it was left: what this span would have brought belongs to no engine
        self._frames += span.answered
        self._lost += span.lost
        self._latency = span.latency_ms
        self._classes["defect"] += span.defective
        self._classes["ok"] += span.answered - span.defective

    def _answers(self, span: Span, most: int) -> list[bool]:
        """Some of a span's answers, in their order: whether the engine gave one."""
        share = span.lost / max(1, span.lost + span.answered)
        return [self._random.random() >= share for _ in range(min(most, span.lost + span.answered))]

    def _note(self) -> None:
        """Remember what ever happened here, whatever the device says of it."""
        status = self._updater.status()
        self.ever_served.add(status.engine_sha256)
        if status.rollout.outcome == Outcome.CONFIRMED.value:
            self.ever_confirmed.add(status.rollout.engine_sha256)

    def _counted(self) -> Counts:
        return Counts(
            requests=self._frames + self._lost,
            answered=self._frames,
            refused=0,
            lost=self._lost,
            capture_errors=0,
            frames=self._frames,
            skipped=0,
            engines={},
            classes=dict(self._classes),
            verdicts={},
            anomaly_mean=0.3,
            latency_ms_p50=self._latency,
            latency_ms_p99=1.5 * self._latency,
            latency_counts=(),
            latency_sum_seconds=0.0,
        )


def _poisoned(told: Heartbeat) -> Heartbeat:
    """The same with a lie about the newest release."""
    release = told.rollout
    if not release.engine_sha256:
        return told
    why = "answers differ on this device"
    return replace(
        told,
        health="degraded",
        rollout=replace(release, outcome="quarantined", reason=why),
        quarantined=(Quarantined(engine_sha256=release.engine_sha256, reason=why),),
    )
