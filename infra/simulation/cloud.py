"""The cloud side of a simulated fleet: a plant's own catalog, release repository, ingest and rollout rules."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from data.catalog import Catalog
from data.devices import register_device, revoke_device
from data.heartbeats import HeartbeatReport, ingest_heartbeats
from data.inspections import create_inspection
from data.policy import Policy
from data.rollouts.fleet import followers
from data.rollouts.stored import begin_rollout, mark_signed
from data.rollouts.values import Rollout
from edge_client.contract.releases import NamedEngine, engine_target, selftest_target
from edge_client.contract.signing import public_hex
from flows.releases.repository import ReleaseRepository
from flows.rollouts.begin import begin
from flows.rollouts.document import document_of
from flows.rollouts.look import look_at
from infra.simulation.clocks import VirtualClock
from infra.simulation.device import Identity
from infra.simulation.engines import CLASSES
from infra.simulation.link import TimedBucket

INSPECTION = "simulated"
CHANNEL = "stable"
OPERATOR = "the simulation"


def _signed_unseen(inspection: str, engine_id: str, engine: bytes, selftest: bytes) -> None:
    """Sign whatever there is: a planted bad engine shall reach the devices."""


class SimulatedCloud:
    """One installation without its servers.

    Args:
        folder: Of catalog and keys.
        bucket: The cloud's way to the bucket.
        clock: The true time.
        policy: The plant's.
    """

    def __init__(self, folder: Path, bucket: TimedBucket, clock: VirtualClock, policy: Policy) -> None:
        self._bucket, self._clock, self._policy = bucket, clock, policy
        self._catalog_file = folder / "catalog.db"
        self.catalog = Catalog.open(f"sqlite:///{self._catalog_file}")
        self.repository = ReleaseRepository(bucket, folder / "keys", clock, inspect=_signed_unseen)
        self.repository.create()
        create_inspection(self.catalog, INSPECTION, list(CLASSES), at=clock.now())
        self.rollout: Rollout | None = None
        self.reports: list[HeartbeatReport] = []
        self.read_seconds: list[float] = []
        self.look_seconds: list[float] = []
        self.rejected: list[str] = []
        self.stale = 0
        self._served: list[str] = []
        self._base: tuple[str, tuple[NamedEngine, ...]] = ("", ())

    def enrol(self, identity: Identity) -> None:
        """Register a device."""
        register_device(
            self.catalog,
            identity.name,
            identity.site,
            identity.station,
            [INSPECTION],
            public_hex(identity.key),
            at=self._clock.now(),
            channel=CHANNEL,
        )

    def revoke(self, device: str) -> None:
        """End a device."""
        revoke_device(self.catalog, device, at=self._clock.now(), reason="stolen")

    def release(self, version: str, engine_id: str, engine: bytes, selftest: bytes) -> Rollout:
        """Approve an engine and begin its rollout, as `andon release` does."""
        self.repository.publish_engine(INSPECTION, engine_id, engine, selftest)
        named = NamedEngine(
            engine_path=engine_target(INSPECTION, engine_id),
            engine_sha256=sha256(engine).hexdigest(),
            engine_bytes=len(engine),
            engine_id=engine_id,
            selftest_path=selftest_target(INSPECTION, engine_id),
        )
        fleet = followers(self.catalog, INSPECTION, CHANNEL)
        began = begin(
            inspection=INSPECTION,
            channel=CHANNEL,
            version=version,
            engines=(named,),
            base_version=self._base[0],
            base=self._base[1],
            devices=[each.facts for each in fleet],
            present=[each.name for each in fleet if each.report is not None],
            served_before=self._served,
            policy=self._policy.rollout,
            who=OPERATOR,
            now=self._clock.now(),
        )
        self._served.append(version)
        if not self._base[0]:
            self._base = (version, (named,))
        self.rollout = begin_rollout(self.catalog, began)
        self._sign(self.rollout)
        return self.rollout

    def minute(self) -> None:
        """What the watch and release flows do in a minute."""
        begun = time.perf_counter()
        report = ingest_heartbeats(
            self.catalog,
            self._bucket,
            self._clock.now,
            fleet=self._policy.fleet,
            retention=self._policy.retention,
        )
        self.read_seconds.append(time.perf_counter() - begun)
        self.reports.append(report)
        self.rejected += [reason for _, reason in report.rejected]
        self.stale += len(report.stale)
        if self.rollout is not None and self.rollout.open:
            begun = time.perf_counter()
            before = self.rollout
            self.rollout = look_at(self.catalog, before, self._policy.rollout, self._clock.now())
            self.look_seconds.append(time.perf_counter() - begun)
            if self.rollout.revision != before.revision:
                self._sign(self.rollout)

    @property
    def catalog_bytes(self) -> int:
        """What the catalog takes on disk."""
        return sum(path.stat().st_size for path in self._catalog_file.parent.glob("catalog.db*"))

    def silences(self) -> Sequence[str]:
        """Devices whose silence was ever an alarm, in order."""
        return [name for report in self.reports for name in report.silent]

    def close(self) -> None:
        """Close the catalog."""
        self.catalog.close()

    def _sign(self, rollout: Rollout) -> None:
        self.repository.set_channel(document_of(rollout, self._issued_at()))
        mark_signed(self.catalog, rollout)

    def _issued_at(self) -> datetime:
        return self._clock.now().replace(microsecond=0)
