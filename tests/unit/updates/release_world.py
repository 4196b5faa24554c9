"""A cloud and a device in one folder: a real repository, a real bucket (a folder), real engines and trials."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.bucket import Bucket, DirectoryBucket
from edge_client.contract.releases import Channel, engine_target, selftest_target
from edge_client.contract.selftest import SelfTest
from edge_client.engine import Engine
from edge_client.updates.rules import Limits
from edge_client.updates.store import UpdateStore
from edge_client.updates.trial import TrialOrder, TrialReport
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig
from flows.releases.repository import ReleaseRepository
from tests.tiny_engine import tiny_engine

INSPECTION = "solar-cells"
BRIGHT: NDArray[np.uint8] = np.full((16, 16, 3), 200, np.uint8)
DARK: NDArray[np.uint8] = np.full((16, 16, 3), 5, np.uint8)
FRAMES: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)


class HandClock:
    """A clock that tests move."""

    def __init__(self, at: datetime = datetime(2026, 6, 1, tzinfo=UTC)) -> None:
        self.at = at
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, **of: float) -> None:
        self.at += timedelta(**of)
        self.seconds += timedelta(**of).total_seconds()


def selftest_of(engine: bytes, *, tolerance: float = 1e-3) -> bytes:
    """The self-test of an engine, from its own answers."""
    output = Engine.from_bytes(engine).run(FRAMES)
    return SelfTest(
        frames=FRAMES, probabilities=output.probabilities, anomaly=output.anomaly, tolerance=tolerance
    ).pack()


def passing(order: TrialOrder) -> TrialReport:
    """A trial that passes at once, for tests that are not about trials."""
    return TrialReport(passed=True, latency_ms=1.0)


def looking_away(inspection: str, engine_id: str, engine: bytes, selftest: bytes) -> None:
    """In place of the inspection before signing."""


class World:
    """One cloud and one device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = HandClock()  # of the device
        self.cloud_clock = HandClock()
        self.bucket = DirectoryBucket(folder / "bucket")
        # engines are not inspected here: many of these tests are about bad ones
        self.repository = ReleaseRepository(self.bucket, folder / "keys", self.cloud_clock, inspect=looking_away)
        self.repository.create()
        self.factory = tiny_engine(engine_id="factory")
        (folder / "factory.onnx").write_bytes(self.factory)

    def publish(self, engine: bytes, engine_id: str, *, selftest: bytes | None = None) -> Channel:
        """Approve an engine and describe the channel that names it."""
        self.repository.publish_engine(INSPECTION, engine_id, engine, selftest or selftest_of(engine), {})
        return self.channel(engine, engine_id)

    def channel(self, engine: bytes, engine_id: str, *, name: str = "stable") -> Channel:
        return Channel(
            inspection=INSPECTION,
            channel=name,
            engine_path=engine_target(INSPECTION, engine_id),
            engine_sha256=digest(engine),
            engine_bytes=len(engine),
            engine_id=engine_id,
            version=engine_id.removeprefix("e"),
            selftest_path=selftest_target(INSPECTION, engine_id),
            issued_at=self.cloud_clock.now(),
        )

    def release(self, engine_id: str, *, selftest: bytes | None = None, **engine: Any) -> bytes:
        """Build an engine, approve it and name it in the channel."""
        data = tiny_engine(engine_id=engine_id, **engine)
        self.cloud_clock.advance(minutes=1)
        self.clock.advance(minutes=1)
        self.repository.set_channel(self.publish(data, engine_id, selftest=selftest))
        return data

    def config(self, **changes: Any) -> UpdaterConfig:
        return replace(
            UpdaterConfig(
                device="line-1",
                inspection=INSPECTION,
                channel="stable",
                state=self.folder / "state" / "updates",
                factory_engine=self.folder / "factory.onnx",
                root=self.repository.root_bytes(),
                limits=Limits(probation_frames=3),
            ),
            **changes,
        )

    def device(
        self,
        *,
        bucket: Bucket | None = None,
        tries: Callable[[TrialOrder], TrialReport] = passing,
        store: Callable[[Path], UpdateStore] = UpdateStore,
        **changes: Any,
    ) -> Updater:
        """Open the device's updater; its threads are not started, so that tests see each step."""
        return Updater.open(
            self.config(**changes), bucket or self.bucket, clock=self.clock, random=Random(0), tries=tries, store=store
        )


def serve(updater: Updater, n: int, frame: NDArray[np.uint8] = BRIGHT) -> int:
    """Send n requests through the slot as a client would; return how many were not answered."""
    lost = 0
    for _ in range(n):
        with updater.slot.lease() as engine:
            try:
                engine.run(frame)
            except Exception:
                lost += 1
                updater.observe(False, 1.0, engine.sha256)
            else:
                updater.observe(True, 1.0, engine.sha256)
    return lost


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
