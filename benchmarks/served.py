"""A device in a folder with an `andon-edge serve` process on it, and a cloud that releases engines to it."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnx
from onnx import helper

from edge_client.clock import SystemClock
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.engine_metadata import METADATA_KEY
from edge_client.contract.releases import Channel, engine_target, selftest_target
from edge_client.contract.sealing import generate_identity
from edge_client.contract.selftest import SelfTest
from edge_client.contract.signing import generate_private_key
from edge_client.engine import Engine
from flows.releases.repository import ReleaseRepository


class Line:
    """A device's folder, as enrolment writes it, with its bucket (a folder) and a release repository.

    Args:
        folder: Made if it is not there.
        engine: The factory engine.
        rest: More of the configuration.
        capture: More of its table [capture].
        poll_seconds: Between looks for releases.
    """

    def __init__(
        self, folder: Path, engine: bytes, *, rest: str = "", capture: str = "", poll_seconds: float = 0.1
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.inspection = Engine.from_bytes(engine).metadata.inspection
        self.bucket = DirectoryBucket(folder / "bucket")
        self.repository = ReleaseRepository(self.bucket, folder / "keys", SystemClock())
        self.repository.create()
        (folder / "root.json").write_bytes(self.repository.root_bytes())
        (folder / "factory.onnx").write_bytes(engine)
        self.public_key = generate_private_key(folder / "device.key")
        recipient = generate_identity(folder / "recipient.age")
        self.config = folder / "andon.toml"
        self.config.write_text(
            f"""
[device]
name = "{folder.name}"
site = "plant-a"
station = "aoi-3"
key = "device.key"

[inspection]
name = "{self.inspection}"
factory_engine = "factory.onnx"

[bucket]
directory = "bucket"

[cloud]
recipient = "{recipient}"

[releases]
root = "root.json"

[update]
poll_seconds = {poll_seconds}
probation_frames = 5

[capture]
reserve_bytes = 0
{capture}
{rest}
"""
        )

    def release(self, engine: bytes, frames: np.ndarray[Any, Any]) -> str:
        """Approve an engine, name it in the channel, and return its id."""
        loaded = Engine.from_bytes(engine)
        engine_id = loaded.metadata.engine_id
        output = loaded.run(frames)
        test = SelfTest(frames=frames, probabilities=output.probabilities, anomaly=output.anomaly, tolerance=0.05)
        self.repository.publish_engine(self.inspection, engine_id, engine, test.pack(), {})
        self.repository.set_channel(
            Channel(
                inspection=self.inspection,
                channel="stable",
                engine_path=engine_target(self.inspection, engine_id),
                engine_sha256=hashlib.sha256(engine).hexdigest(),
                engine_bytes=len(engine),
                engine_id=engine_id,
                version=engine_id,
                selftest_path=selftest_target(self.inspection, engine_id),
                issued_at=SystemClock().now(),
            )
        )
        return engine_id


def renamed(engine: bytes, engine_id: str) -> bytes:
    """Return the same engine under another id: another file, as a release is."""
    model = onnx.load_model_from_string(engine)
    told = {p.key: p.value for p in model.metadata_props}
    described = json.loads(told[METADATA_KEY]) | {"engine_id": engine_id}
    helper.set_model_props(model, told | {METADATA_KEY: json.dumps(described, sort_keys=True, separators=(",", ":"))})
    return bytes(model.SerializeToString(deterministic=True))


class Served:
    """An ``andon-edge serve`` process; a context that ends it.

    Args:
        configs: Configuration files, one for each inspection.
        arguments: More of the command line.
    """

    def __init__(self, configs: Sequence[Path], *arguments: str) -> None:
        command = [sys.executable, "-m", "edge_client.cli", "serve", "--json", "--port", "0", *arguments]
        for config in configs:
            command += ["--config", str(config)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate(timeout=30)
            raise RuntimeError(f"the server did not start: {errors}")
        self.ready: dict[str, Any] = json.loads(line)
        self.url: str = self.ready["http"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def resident_bytes(self) -> int:
        """Memory that the process holds now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        """End it in order and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def wait_until(true: Any, *, seconds: float, what: str) -> Any:
    """Wait for something to be true and return it."""
    end = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.01)
    return found
