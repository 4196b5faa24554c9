"""A real Ray cluster on this machine: a head without processors, and workers of one core each, ended by process id.

Its processes have no home directory of Andon and no key: what they compute with comes to them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.integration.flows.stack import ROOT, free_port, wait_until

_RAY = str(Path(sys.executable).parent / "ray")
_STORE_BYTES = str(400 << 20)


@dataclass
class Cluster:
    """The nodes, by name."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="ray-")))  # socket names must be short
    port: int = field(default_factory=free_port)
    client_port: int = field(default_factory=free_port)
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"ray://127.0.0.1:{self.client_port}"

    def start(self, workers: int = 2) -> None:
        self._start("head", "--head", f"--port={self.port}", "--num-cpus=0", f"--temp-dir={self.folder}",
                    f"--ray-client-server-port={self.client_port}", "--include-dashboard=false")  # fmt: skip
        wait_until(lambda: self._answers(self.port) and self._answers(self.client_port), "the cluster's head")
        for number in range(workers):
            self.add(f"worker-{number}")

    def add(self, name: str) -> None:
        self._start(name, f"--address=127.0.0.1:{self.port}", "--num-cpus=1")
        wait_until(lambda: self.raylets(name), f"the raylet of {name}")

    def raylets(self, name: str) -> list[psutil.Process]:
        return [process for process in self._below(name) if process.name() == "raylet"]

    def at_work(self, name: str, *words: str) -> list[psutil.Process]:
        """Worker processes of a node that compute one of these pieces just now."""
        found = []
        for process in self._below(name):
            try:
                title = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if title.startswith("ray::") and any(word in title for word in words):
                found.append(process)
        return found

    def kill(self, name: str) -> None:
        """SIGKILL to everything of a node at once, as when its machine loses power."""
        found = self._below(name)
        node = self.nodes.pop(name)
        for process in found:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        node.kill()
        node.wait(timeout=60)

    def stop(self) -> None:
        for name in [*(n for n in self.nodes if n != "head"), "head"]:
            self.kill(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, name: str, *arguments: str) -> None:
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.nodes[name] = subprocess.Popen(
                [_RAY, "start", "--block", "--disable-usage-stats", "--node-ip-address=127.0.0.1",
                 f"--object-store-memory={_STORE_BYTES}", *arguments],
                env={**kept, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip

    def _below(self, name: str) -> list[psutil.Process]:
        try:
            return psutil.Process(self.nodes[name].pid).children(recursive=True)
        except psutil.NoSuchProcess:
            raise AssertionError(f"{name} ended:\n{(self.folder / f'{name}.log').read_text()[-3000:]}") from None

    def _answers(self, port: int) -> bool:
        import socket

        head = self.nodes["head"]
        if head.poll() is not None:
            raise AssertionError(f"the head ended:\n{(self.folder / 'head.log').read_text()[-3000:]}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2):
                return True
        except OSError:
            return False


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
