"""Starting the peers, each in a process group of its own, paused while another is measured."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.load import http_request
from benchmarks.served import wait_until

HERE = Path(__file__).parent
_START_SECONDS = 180


def environment(name: str, cache: Path) -> Path:
    """Return the bin folder of a peer's virtual environment, made at first use."""
    folder = cache / f"peer-{name}"
    ready = folder / "ready"
    pinned = HERE / f"{name}.txt"
    if not ready.exists() or ready.read_text() != pinned.read_text():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"making the environment of {name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run(
            [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--requirement", str(pinned)],
            check=True,
            stdout=sys.stderr,
        )
        ready.write_text(pinned.read_text())
    return folder / "bin"


class Peer:
    """A server that listens; a context that ends its whole process group.

    Args:
        name: As the rows call it.
        command: What to run.
        port: Where it will listen.
        folder: Working folder.
        ready: Path that answers 200 when it is ready.
    """

    def __init__(self, name: str, command: Sequence[str], port: int, folder: Path, ready: str) -> None:
        self.name = name
        self.port = port
        # the environment of the benchmark would be imported by the peer's Python too
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        self._log = (folder / f"{name}.log").open("wb")
        self._process = subprocess.Popen(
            list(command), cwd=folder, env=clean, start_new_session=True, stdout=self._log, stderr=self._log
        )
        try:
            wait_until(lambda: self._answers(ready), seconds=_START_SECONDS, what=f"{name} on port {port}")
        except BaseException:
            self.close()
            raise

    def _answers(self, path: str) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: see {self._log.name}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return sock.recv(12).endswith(b" 200")
        return False

    def pause(self) -> None:
        """Keep it from taking any time from the others."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        self._log.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def litserve(cache: Path, folder: Path, engine: Path, setting: tuple[int, str]) -> Peer:
    """Start LitServe with so many workers, and its fast queue or not."""
    python = environment("litserve", cache) / "python"
    port = _free_port()
    workers, queue = setting
    command = [str(python), str(HERE / "litserve_app.py"), str(engine), str(port), str(workers), queue]
    return Peer("litserve", command, port, folder, "/health")


def mlserver(cache: Path, folder: Path, engine: Path, setting: tuple[int]) -> Peer:
    """Start MLServer with so many parallel workers; 0 runs in its main process."""
    command = [str(environment("mlserver", cache) / "mlserver"), "start", str(folder)]
    ports = [_free_port() for _ in range(3)]
    settings = {
        **{"http_port": ports[0], "grpc_port": ports[1], "metrics_port": ports[2], "metrics_endpoint": None},
        **{"debug": False, "parallel_workers": setting[0], "host": "127.0.0.1"},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "cells", "implementation": "mlserver_app.Runtime", "parameters": {"uri": str(engine)}}
    (folder / "model-settings.json").write_text(json.dumps(model))
    shutil.copy(HERE / "mlserver_app.py", folder)
    return Peer("mlserver", command, ports[0], folder, "/v2/models/cells/ready")


def litserve_requests(frames: NDArray[np.uint8]) -> list[bytes]:
    """Requests as `litserve_app` reads them."""
    return [http_request("/predict", frame.tobytes(), {}) for frame in frames]


def mlserver_requests(frames: NDArray[np.uint8]) -> list[bytes]:
    """Requests as `mlserver_app` reads them."""
    found = []
    for frame in frames:
        data = base64.b64encode(frame.tobytes()).decode()
        body = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [data]}]}
        found.append(
            http_request("/v2/models/cells/infer", json.dumps(body).encode(), {"Content-Type": "application/json"})
        )
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
