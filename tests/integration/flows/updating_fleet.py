"""Devices that really follow their channel: real updaters against the real bucket, and signed heartbeats."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from data.devices import register_device
from data.workspace import Workspace
from edge_client.contract.bucket import Bucket
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.names import status_key
from edge_client.contract.signing import generate_private_key, load_private_key
from edge_client.updates.rules import Limits
from edge_client.updates.trial import TrialOrder, TrialReport
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig
from flows.releases.repository import ReleaseRepository
from tests.tiny_engine import tiny_engine

FRAMES = 600  # between two heartbeats


class Line:
    """One device on a line.

    Args:
        workspace: The cloud that it belongs to.
        bucket: Its bucket.
        repository: Gives its trust anchor.
        folder: For its key, engines and metadata.
        name: Of the device.
        inspection: That it runs.
        site: Where it stands.
        station: At which place there.
        classes: Names of the classes that it counts: ok first.
    """

    def __init__(
        self,
        workspace: Workspace,
        bucket: Bucket,
        repository: ReleaseRepository,
        folder: Path,
        name: str,
        inspection: str,
        *,
        site: str = "plant",
        station: str = "end",
        classes: Sequence[str] = ("ok", "defect"),
    ) -> None:
        self._bucket, self.name, self.inspection, self.site = bucket, name, inspection, site
        self._station, self._classes = station, classes
        self._key = folder / f"{name}.key"
        public = generate_private_key(self._key)
        register_device(workspace.catalog(), name, site, station, [inspection], public, at=datetime.now(UTC))
        factory = folder / f"{name}.onnx"
        factory.write_bytes(tiny_engine(inspection=inspection, engine_id="factory"))
        self._random = Random(name)
        self._sequence, self._frames, self._defects = 0, 0, 0
        self.refuses: set[str] = set()  # engine ids that do not pass their trial here
        self.updater = Updater.open(
            UpdaterConfig(
                device=name,
                inspection=inspection,
                channel="stable",
                state=folder / name,
                factory_engine=factory,
                root=repository.root_bytes(),
                limits=Limits(probation_frames=2),
                site=site,
                hardware="x86_64",
            ),
            bucket,
            tries=self._try,
        )

    def turn(self, *, bad: Sequence[str] = (), defects: float = 0.1, odd: Sequence[str] = ()) -> str:
        """Look for a release, serve some frames, and tell of it.

        Args:
            bad: Engine ids that raise on probation.
            defects: Share of frames that the engine calls defects.
            odd: Engine ids that call so many more.

        Returns:
            The engine in service then.
        """
        self.updater.check_once()
        status = self.updater.status()
        for _ in range(3):
            self.updater.observe(status.engine_id not in bad, 2.0, status.engine_sha256)
        engine_id = self.updater.status().engine_id
        share = defects + (0.6 if engine_id in odd else 0.0)
        self._frames += FRAMES
        self._defects += sum(self._random.random() < share for _ in range(FRAMES))
        self.beat()
        return engine_id

    def _try(self, order: TrialOrder) -> TrialReport:
        """Trials are tested elsewhere: here they end at once."""
        if order.engine_id in self.refuses:
            return TrialReport(passed=False, certain=True, reason=f"{order.engine_id} answers otherwise here")
        return TrialReport(passed=True, latency_ms=1.0)

    def beat(self) -> None:
        """Sign a heartbeat and put it into the bucket."""
        status = self.updater.status()
        self._sequence += 1
        heartbeat = Heartbeat(
            device=self.name,
            site=self.site,
            station=self._station,
            sequence=self._sequence,
            sent_at=datetime.now(UTC),
            client_version="1",
            inspection=self.inspection,
            channel="stable",
            engine_id=status.engine_id,
            engine_sha256=status.engine_sha256,
            slot=status.place,
            health="ok",
            frames=self._frames,
            latency_ms_p50=2.0,
            latency_ms_p99=4.0,
            class_counts={self._classes[0]: self._frames - self._defects, self._classes[1]: self._defects},
            anomaly_mean=0.3,
            rollout=status.rollout,
            quarantined=status.quarantined,
            hardware="x86_64",
            variant=status.variant,
        )
        self._bucket.put(status_key(self.name), heartbeat.sign(load_private_key(self._key)))
