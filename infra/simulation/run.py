"""Runs a plan: who does what when, on one clock.

1. Events are done in order of their virtual time; the clock stands still while one is done.
2. First the fleet runs its first engine (`warm_up_hours`): its last hours are what a device costs in quiet times. Then
   the release; then, once its rollout has ended, `settle_hours` more.
3. The same plan, seed and bucket give the same course.
"""

from __future__ import annotations

import heapq
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data.policy import Policy
from edge_client.contract.bucket import Bucket
from edge_client.contract.build_date import BUILT_AT
from edge_client.contract.errors import ConfigError
from infra.simulation.clocks import VirtualClock
from infra.simulation.cloud import INSPECTION, SimulatedCloud
from infra.simulation.device import Ground, Identity, SimulatedDevice
from infra.simulation.engines import selftest_of, synthetic_engine
from infra.simulation.lines import BEHAVIOUR, Behaviour
from infra.simulation.link import Link, Meter, TimedBucket
from infra.simulation.plan import Plan
from infra.simulation.report import Report, make_report
from infra.simulation.thief import SECONDS as THIEF_SECONDS
from infra.simulation.thief import Thief
from infra.simulation.wire import wire_bytes

MINUTE = 60.0
START = max(datetime(2027, 1, 4, tzinfo=UTC), BUILT_AT)  # a device believes no time before its client was built
_QUIET_AFTER = 0.5  # of the warm-up: until then devices start and update for the first time
_FILES_PER_DEVICE = 6
_REVOKED_AFTER = 3600.0  # a theft is noticed


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """What was counted while nothing happened."""

    seconds: float
    devices: Meter
    cloud: Meter


def simulate(
    plan: Plan, *, bucket: Bucket, folder: Path, policy: Policy, tell: Callable[[str], None] = lambda _: None
) -> Report:
    """Simulate a fleet.

    Args:
        plan: What is simulated.
        bucket: An empty bucket that nobody else uses.
        folder: For the devices' and the cloud's files; must be empty.
        policy: The plant's.
        tell: Takes lines about how it goes.

    Raises:
        ConfigError: So many devices need more open files than this system allows.
    """
    _raise_open_files(plan.devices)
    begun, cpu = time.perf_counter(), time.process_time()
    world = World(plan, bucket=bucket, folder=folder, policy=policy, tell=tell)
    try:
        world.run()
        return make_report(world, wall_seconds=time.perf_counter() - begun, cpu_seconds=time.process_time() - cpu)
    finally:
        world.close()


class World:
    """All that takes part; see `simulate`."""

    def __init__(
        self, plan: Plan, *, bucket: Bucket, folder: Path, policy: Policy, tell: Callable[[str], None]
    ) -> None:
        self.plan = plan
        self.clock = VirtualClock(START + timedelta(minutes=plan.seed))  # another seed, other devices first
        self.device_meter, self.cloud_meter = Meter(), Meter()
        self.random = Random(plan.seed)
        self._tell = tell
        timed = TimedBucket(bucket, self.clock, self.cloud_meter)
        cloud_folder = folder / "cloud"
        cloud_folder.mkdir(parents=True)
        self.cloud = SimulatedCloud(cloud_folder, timed, self.clock, policy)
        self.link = Link(
            bucket, self.clock, self.device_meter, loss=plan.loss, lag_seconds=plan.lag_seconds, random=self.random
        )
        self.link.share_times(timed)
        self._behaviour: dict[str, Behaviour] = {}
        factory = synthetic_engine(INSPECTION, "factory", padding_bytes=plan.engine_bytes)
        (folder / "factory.onnx").write_bytes(factory)
        self.devices = self._enrol(folder)
        stolen = self.devices[: plan.stolen]
        self.thief = Thief(
            stolen, self.devices[plan.stolen :] or stolen, timed.sharing(Meter()), self.clock, Random(plan.seed + 1)
        )
        self.quiet: Quiet | None = None
        self.engines: dict[str, str] = {}  # version -> digest
        self.released_at = self.ended_at = 0.0
        self.quiet_until_release = 0  # bytes of all devices
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._over = False

    def run(self) -> None:
        """Let time pass."""
        plan = self.plan
        self._release("1", wrong=False)
        for i, device in enumerate(self.devices):
            self._at(self.random.uniform(0, plan.poll_seconds), lambda d=device: self._step(d))  # type: ignore[misc]
            if plan.reboots_per_day:
                self._plan_reboot(i)
        self._at(MINUTE, self._minute)
        warm = plan.warm_up_hours * 3600
        self._at(warm * _QUIET_AFTER, self._begin_quiet)
        self._at(warm, self._end_quiet)
        while self._events and not self._over:
            at, _, do = heapq.heappop(self._events)
            self.clock.seconds = max(self.clock.seconds, at)
            self.link.deliver()
            do()

    def close(self) -> None:
        """End all devices."""
        for device in self.devices:
            device.stop()
        self.cloud.close()

    def _enrol(self, folder: Path) -> list[SimulatedDevice]:
        plan = self.plan
        ground = Ground(
            folder=folder / "devices",
            factory_engine=folder / "factory.onnx",
            root=self.cloud.repository.root_bytes(),
            inspection=INSPECTION,
            behaviour=lambda digest: self._behaviour.get(digest, BEHAVIOUR["none"]),
        )
        devices = []
        for i in range(plan.devices):
            site = f"site-{i % plan.plants + 1:03d}"
            key = Ed25519PrivateKey.from_private_bytes(sha256(f"{plan.seed} {i}".encode()).digest())
            identity = Identity(
                name=f"{site}-line-{i // plan.plants + 1:03d}",
                site=site,
                station=f"station-{(i // plan.plants) % 10 + 1}",
                key=key,
            )
            (ground.folder / identity.name).mkdir(parents=True)
            self.cloud.enrol(identity)
            devices.append(
                SimulatedDevice(
                    identity,
                    ground,
                    self.link,
                    self.clock,
                    plan,
                    random=Random(f"{plan.seed} {i}"),
                    poisoned=plan.stolen <= i < plan.stolen + plan.poisoned,
                    child=i >= plan.devices - plan.children,
                )
            )
        return devices

    def _release(self, version: str, *, wrong: bool) -> None:
        bad = self.plan.bad if wrong else "none"
        engine = synthetic_engine(
            INSPECTION, f"engine-{version}", padding_bytes=self.plan.engine_bytes, seed=int(version)
        )
        self.engines[version] = sha256(engine).hexdigest()
        self._behaviour[self.engines[version]] = BEHAVIOUR[bad]
        self.cloud.release(version, f"engine-{version}", engine, selftest_of(engine, wrong=bad == "selftest"))

    def _step(self, device: SimulatedDevice) -> None:
        self._at(device.step(), lambda: self._step(device))

    def _minute(self) -> None:
        before = self.cloud.rollout
        self.cloud.minute()
        rollout = self.cloud.rollout
        assert rollout is not None
        if before is not None and rollout.revision != before.revision:
            event = rollout.events[-1]
            self._tell(f"{self._hours():7.2f} h  {event.what}: {event.why}")
        if self.released_at and not rollout.open and not self.ended_at:
            self.ended_at = self.clock.seconds
            self._at(self.clock.seconds + self.plan.settle_hours * 3600, self._end)
        self._at(self.clock.seconds + MINUTE, self._minute)

    def _begin_quiet(self) -> None:
        self._quiet_from = (self.clock.seconds, self.device_meter.copy(), self.cloud_meter.copy())

    def _end_quiet(self) -> None:
        at, devices, cloud = self._quiet_from
        self.quiet = Quiet(
            seconds=self.clock.seconds - at,
            devices=self.device_meter.since(devices),
            cloud=self.cloud_meter.since(cloud),
        )
        plan = self.plan
        self.released_at = self.clock.seconds
        self.quiet_until_release = wire_bytes(self.device_meter)
        self._tell(f"{self._hours():7.2f} h  release of version 2 ({plan.bad}) to {plan.devices} devices")
        self._release("2", wrong=True)
        for device in self.devices[plan.devices - plan.dark :] if plan.dark else []:
            device.dark = True
        if plan.stolen:
            self._at(self.clock.seconds + THIEF_SECONDS, self._steal)
            self._at(self.clock.seconds + _REVOKED_AFTER, self._revoke)
        self._at(self.clock.seconds + plan.most_hours * 3600, self._end)

    def _steal(self) -> None:
        self.thief.act()
        self._at(self.clock.seconds + THIEF_SECONDS, self._steal)

    def _revoke(self) -> None:
        for device in self.devices[: self.plan.stolen]:
            self.cloud.revoke(device.identity.name)
            device.dark = True  # it hangs in the thief's cellar

    def _plan_reboot(self, i: int) -> None:
        def reboot() -> None:
            self.devices[i].reboot()
            self._plan_reboot(i)

        self._at(self.clock.seconds + self.random.expovariate(self.plan.reboots_per_day / 86_400), reboot)

    def _end(self) -> None:
        self._over = True

    def _at(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (seconds, next(self._numbers), do))

    def _hours(self) -> float:
        return self.clock.seconds / 3600


def peak_bytes() -> int:
    """The most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _raise_open_files(devices: int) -> None:
    needed = devices * _FILES_PER_DEVICE + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"{devices} devices need {needed} open files, this system allows {hard}: simulate fewer, or raise it "
            "(ulimit -n)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
