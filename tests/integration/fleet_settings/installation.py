"""An installation for these tests: a real bucket server, catalog and release repository; devices as real processes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.devices import device_statuses
from data.heartbeats import ingest_heartbeats
from data.inspections import create_inspection
from data.workspace import Workspace
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.sealing import generate_identity
from flows.stack import repository_of
from infra.cli.main import main
from infra.enrolment import Bundle, enroll
from tests.integration.ingest.seaweed import KEY, SECRET, seaweed
from tests.tiny_engine import tiny_engine

ROOT = Path(__file__).parents[3]
INSPECTION = "solar-cells"


@dataclass
class Installation:
    """The cloud's side."""

    home: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def workspace(self) -> Workspace:
        return Workspace.open(self.home, environ={})

    def enroll(self, name: str, **tables: dict[str, Any]) -> Bundle:
        """Enrol a device whose own file has more in it."""
        bundle = enroll(
            self.workspace,
            name,
            site="plant-a",
            station=name,
            inspection=INSPECTION,
            engine=self.home / "factory.onnx",
            settings={
                "update": {"poll_seconds": 0.5},
                "device": {"heartbeat_seconds": 0.5},
                "capture": {"window_seconds": 2.0, "reserve_bytes": 0},
                **tables,
            },
        )
        return bundle

    def start(self, bundle: Bundle, *arguments: str) -> subprocess.Popen[bytes]:
        """Start ``andon-edge`` on a device's bundle."""
        log = (bundle.path / "edge.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_client.cli", arguments[0], "--config", str(bundle.config), *arguments[1:]],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        log.close()
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End a device's process in order."""
        process.terminate()
        process.wait(30)

    def andon(self, *words: str) -> Any:
        """Run ``andon … --json`` and return what it printed; its exit code must be 0."""
        code, told = self.andon_code(*words)
        assert code == 0, told
        return told

    def andon_code(self, *words: str) -> tuple[int, Any]:
        printed = io.StringIO()
        with redirect_stdout(printed):
            code = main([*words, "--home", str(self.home), "--json"])
        return code, json.loads(printed.getvalue())

    def heartbeat(self, name: str) -> Heartbeat | None:
        """What a device last said, read by the cloud."""
        ingest_heartbeats(self.workspace.catalog(), self.workspace.bucket())
        status = device_statuses(self.workspace.catalog()).get(name)
        return status.heartbeat if status is not None else None

    def follows(self, name: str, **versions: int) -> bool:
        """Whether a device says that it follows these versions."""
        told = self.heartbeat(name)
        return told is not None and {**told.settings_versions, **versions} == dict(told.settings_versions)


@contextmanager
def installation(folder: Path) -> Iterator[Installation]:
    """Run one."""
    home = folder / "home"
    (home / "keys").mkdir(parents=True, mode=0o700)
    with seaweed(folder / "bucket", "andon") as settings:
        (home / "stack.json").write_text(
            json.dumps({"urls": {"bucket": settings.endpoint_url}, "bucket": {"name": "andon"}})
        )
        (home / "secrets.json").write_text(json.dumps({"access_key_id": KEY, "secret_access_key": SECRET}))
        generate_identity(home / "keys" / "recipient.age")
        (home / "factory.onnx").write_bytes(tiny_engine())
        made = Installation(home=home)
        repository_of(made.workspace, lambda: datetime.now(UTC)).create()
        create_inspection(made.workspace.catalog(), INSPECTION, [("ok", "ok"), ("defect", "defect")])
        try:
            yield made
        finally:
            for process in made.processes:
                if process.poll() is None:
                    process.terminate()
                    try:
                        process.wait(20)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait(20)


def wait_until(holds: Callable[[], object], what: str, seconds: float = 60.0, *, every: float = 0.2) -> None:
    """Poll until something holds in another process."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(every)


def put_frame(folder: Path, name: str, brightness: int) -> None:
    """Put one image into a followed folder, whole at once."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(name)).integers(-10, 10, (32, 32, 3))
    beside = folder / f".{name}.new"
    Image.fromarray(np.clip(noise + brightness, 0, 255).astype(np.uint8)).save(beside, format="PNG")
    beside.rename(folder / f"{name}.png")
