"""A plant whose cloud can be destroyed: a real bucket server, catalog, MLflow's database, releases; a real device."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from data.inspections import create_inspection
from data.labels import NewLabel, record_labels
from data.workspace import Workspace
from edge_client import Client
from edge_client.contract.releases import Channel, engine_target, selftest_target
from flows.ingest import ingest_once
from flows.stack import repository_of
from infra.backup.bucket_alone import bucket_alone
from infra.enrolment import Bundle, enroll
from infra.stack.bring_up import prepare
from infra.stack.foundation import lay
from infra.stack.layout import Home
from infra.stack.single_instance import FileLock
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import selftest_of

INSPECTION = "solar-cells"
ROOT = Path(__file__).parents[3]
NOW: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731


@dataclass
class Plant:
    """The cloud's side of one home directory."""

    home: Home

    @property
    def workspace(self) -> Workspace:
        return Workspace.open(self.home.path, environ={})

    def publish(self, engine_id: str, version: str) -> None:
        """Approve an engine and name it for all devices."""
        engine = tiny_engine(engine_id=engine_id, bias=0.05)
        repository = repository_of(self.workspace, NOW)
        repository.publish_engine(INSPECTION, engine_id, engine, selftest_of(engine))
        repository.set_channel(
            Channel(
                inspection=INSPECTION,
                channel="stable",
                engine_path=engine_target(INSPECTION, engine_id),
                engine_sha256=hashlib.sha256(engine).hexdigest(),
                engine_bytes=len(engine),
                engine_id=engine_id,
                version=version,
                selftest_path=selftest_target(INSPECTION, engine_id),
                issued_at=NOW(),
            )
        )

    def label_all(self, who: str = "ana") -> int:
        """Label what has no label yet."""
        from data.catalog.models import LabelEventRow, SampleRow

        with self.workspace.catalog().reading() as session:
            done = {row.sample_id for row in session.query(LabelEventRow)}
            todo = [row.sample_id for row in session.query(SampleRow) if row.sample_id not in done]
        labels = [NewLabel(sample_id=i, classes=("ok",), event_id=f"{who}-{i}") for i in todo]
        return len(record_labels(self.workspace.catalog(), labels, who=who, at=NOW(), source="test"))

    def ingest(self) -> int:
        return ingest_once(self.workspace).samples


@contextmanager
def running(home: Home) -> Iterator[Plant]:
    """Run the cloud of a prepared home directory; this process stands for its supervisor."""
    lock = FileLock(home.supervisor_lock)
    with bucket_alone(home):
        assert lock.acquire()
        try:
            lay(home.path)
            yield Plant(home)
        finally:
            lock.release()


@contextmanager
def new_plant(folder: Path) -> Iterator[Plant]:
    home = Home(folder / "home")
    home.create()
    prepare(home)
    with running(home) as plant:
        create_inspection(plant.workspace.catalog(), INSPECTION, [("ok", "ok"), ("defect", "defect")])
        yield plant


def enrolled(plant: Plant, name: str, place: Path) -> Bundle:
    engine = place.with_suffix(".onnx")
    engine.parent.mkdir(parents=True, exist_ok=True)
    engine.write_bytes(tiny_engine())
    return enroll(
        plant.workspace,
        name,
        site="plant-a",
        station="s-1",
        inspection=INSPECTION,
        engine=engine,
        out_dir=place,
        settings={
            "update": {"poll_seconds": 0.2},
            "device": {"heartbeat_seconds": 0.5},
            "capture": {"window_seconds": 0.5, "reserve_bytes": 0},
        },
    )


def frame(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.clip(random.normal(150, 40, (48, 48, 3)), 0, 255).astype(np.uint8)


def inspect(client: Client, first: int, count: int) -> None:
    """Inspect frames of parts, and wait until the bucket has what was kept of them."""
    for seed in range(first, first + count):
        client.predict(frame(seed), part_id=f"P-{seed}")
    assert client.flush(seconds=120)


class Writer:
    """A device that goes on inspecting, a cloud that goes on ingesting and a person who goes on labelling."""

    def __init__(self, plant: Plant, client: Client) -> None:
        self._plant, self._client = plant, client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.rounds = 0
        self.problem: BaseException | None = None

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                inspect(self._client, 1000 + 5 * self.rounds, 5)
                self._plant.ingest()
                self._plant.label_all()
                self.rounds += 1
        except BaseException as error:
            self.problem = error

    def __enter__(self) -> Writer:
        self._thread.start()
        wait_until(lambda: self.rounds or self.problem, "the first round")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.problem is not None:
            raise self.problem


def start_andon(home: Home, *words: str) -> subprocess.Popen[str]:
    """Start ``andon …`` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "infra.cli.main", words[0], "--home", str(home.path), "--json", *words[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def wait_until(holds: Callable[[], object], what: str, seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)
