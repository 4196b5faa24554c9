"""A fleet of which some devices were reached by a rollout, as heartbeats tell it: real folds, real decisions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from data.catalog import Catalog
from data.devices import record_heartbeat, register_device
from data.inspections import create_inspection
from data.policy import RolloutPolicy
from data.rollouts.fleet import followers
from data.rollouts.stored import begin_rollout, newest_rollout
from data.rollouts.values import Rollout
from edge_client.contract.heartbeat import Heartbeat, Quarantined
from edge_client.contract.heartbeat import Rollout as Told
from edge_client.contract.releases import NamedEngine, engine_target, selftest_target
from flows.rollouts.begin import begin, is_reached
from flows.rollouts.look import look_at

INSPECTION = "castings"
EVIL = "<img src=x onerror=alert(1)> out of memory"
BASE, NEW = "a" * 64, "b" * 64


def file(engine_id: str, sha256: str, variant: str) -> NamedEngine:
    return NamedEngine(
        engine_path=engine_target(INSPECTION, engine_id),
        engine_sha256=sha256,
        engine_bytes=4_550_000,
        engine_id=engine_id,
        selftest_path=selftest_target(INSPECTION, engine_id),
        variant=variant,
    )


class Fleet:
    """Twelve devices, and a rollout at its second stage."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.now = datetime.now(UTC) - timedelta(hours=3)
        self.sequence = 0
        self.frames: dict[str, int] = {}
        self.defects: dict[str, int] = {}
        self.policy = RolloutPolicy(stages="1 device, 4 devices, 50%, approve 100%", soak_minutes=20.0)
        create_inspection(catalog, INSPECTION, [("ok", "ok"), ("crack", "defect"), ("pore", "defect")])
        self.names = [f"press-{i:02d}" for i in range(12)]
        for name in self.names:
            register_device(catalog, name, "north", "press", [INSPECTION], "ab" * 32, at=self.now)

    @property
    def newest(self) -> Rollout:
        found = newest_rollout(self.catalog, INSPECTION, "stable")
        assert found is not None
        return found

    def begin(self) -> None:
        fleet = followers(self.catalog, INSPECTION, "stable")
        made = begin(
            inspection=INSPECTION,
            channel="stable",
            version="8",
            engines=(file("e8", NEW, "int8"), file("e8-fp32", "c" * 64, "fp32")),
            base_version="7",
            base=(file("e7", BASE, "int8"),),
            devices=[f.facts for f in fleet],
            present=self.names,
            served_before=(),
            policy=self.policy,
            who="ann",
            now=self.now,
        )
        begin_rollout(self.catalog, made)

    def pass_by(self, minutes: int, *, refusing: tuple[str, ...] = (), shift: float = 0.0) -> None:
        """Every device tells every two minutes, and each time the rollout is looked at."""
        for _ in range(minutes // 2):
            self.now += timedelta(minutes=2)
            self.sequence += 1
            for i, follower in enumerate(followers(self.catalog, INSPECTION, "stable") or self.names):
                self._beat(follower if isinstance(follower, str) else follower.name, i, refusing, shift)
            found = newest_rollout(self.catalog, INSPECTION, "stable")
            if found is not None and found.open:
                look_at(self.catalog, found, self.policy, self.now)

    def _beat(self, name: str, i: int, refusing: tuple[str, ...], shift: float) -> None:
        found = newest_rollout(self.catalog, INSPECTION, "stable")
        facts = next((f.facts for f in followers(self.catalog, INSPECTION, "stable") if f.name == name), None)
        reached = found is not None and found.open and facts is not None and is_reached(found, found.stage, facts)
        refused = reached and name in refusing
        engine = NEW if reached and not refused else BASE
        self.frames[name] = self.frames.get(name, 0) + 300
        rate = 0.03 + 0.002 * i + (shift if engine == NEW else 0.0)
        self.defects[name] = self.defects.get(name, 0) + round(
            300 * rate * (0.8 + 0.4 * ((self.sequence * 7 + i) % 3) / 2)
        )
        told = Told()
        if refused:
            told = Told(engine_id="e8", engine_sha256=NEW, outcome="quarantined", reason=EVIL)
        elif reached:
            told = Told(engine_id="e8", engine_sha256=NEW, outcome="confirmed")
        quarantined = (Quarantined(engine_sha256=NEW, reason=EVIL),) if refused else ()
        heartbeat = Heartbeat(
            device=name,
            site="north",
            station="press",
            sequence=self.sequence,
            sent_at=self.now,
            client_version="1",
            inspection=INSPECTION,
            channel="stable",
            engine_id="e8" if engine == NEW else "e7",
            engine_sha256=engine,
            slot="a",
            health="ok",
            frames=self.frames[name],
            latency_ms_p50=4.0,
            latency_ms_p99=9.0 + i / 10,
            class_counts={
                "ok": self.frames[name] - self.defects[name],
                "crack": self.defects[name] // 2,
                "pore": self.defects[name] - self.defects[name] // 2,
            },
            anomaly_mean=0.31,
            rollout=told,
            quarantined=quarantined,
            hardware="x86_64",
        )
        record_heartbeat(self.catalog, replace(heartbeat), received_at=self.now)
