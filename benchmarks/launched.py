"""A device whose inference server was started with ``andon-edge launch``, requests that never pause, and a cloud that
publishes client software for it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np

from benchmarks.client_wheels import ROOT, client_wheel, wheel_name
from benchmarks.served import Line
from edge_client.clock import SystemClock
from edge_client.contract.errors import AndonError
from edge_client.encode import encode_lossless
from edge_client.remote import RemoteClient
from edge_client.software.store import SoftwareStore
from flows import software


@dataclass(slots=True, kw_only=True)
class Answers:
    """What came of the requests.

    Attributes:
        answered: With status 200, at once or when repeated.
        broken: Whose connection broke before the answer, or that were answered with another status.
        lost: Of those, the ones that were not answered when repeated once.
        waits_ms: Time of each.
    """

    answered: int = 0
    broken: int = 0
    lost: int = 0
    waits_ms: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


class _Asking:
    """Threads that ask until they are told to stop, and what came of it; a context."""

    def __init__(self, threads: int, pause_seconds: float) -> None:
        self._pause = pause_seconds
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._answers = Answers()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    def take(self) -> Answers:
        """Return what came of the requests since the last time."""
        with self._lock:
            taken, self._answers = self._answers, Answers()
            return taken

    def _work(self) -> None:
        raise NotImplementedError

    def _note(self, began: float, *, lost: bool, broken: bool, reason: str) -> None:
        took = (time.perf_counter() - began) * 1e3
        with self._lock:
            told = self._answers
            told.answered += not lost
            told.broken += broken
            told.lost += lost
            told.waits_ms.append(took)
            if reason:
                told.reasons.append(reason)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)


class LineRequests(_Asking):
    """Lines that ask through `RemoteClient`, as an application does: what they lose is lost to the line.

    Args:
        port: Of the server.
        model: Which.
        lines: How many.
        pause_seconds: Between an answer and the next request.
    """

    def __init__(self, port: int, model: str, *, lines: int = 2, pause_seconds: float = 0.01) -> None:
        super().__init__(lines, pause_seconds)
        self._remote = RemoteClient([f"http://127.0.0.1:{port}"], model=model, timeout=30.0)
        self._frame = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)

    def _work(self) -> None:
        while not self._stop.wait(self._pause):
            began, reason = time.perf_counter(), ""
            try:
                self._remote.predict(self._frame)
            except AndonError as error:
                reason = repr(error)
            self._note(began, lost=bool(reason), broken=False, reason=reason)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._remote.close()


class Requests(_Asking):
    """Connections that send one frame after the other, kept alive as clients do.

    Args:
        port: Of the server.
        model: Which.
        connections: How many.
        pause_seconds: Between an answer and the next request.
    """

    def __init__(self, port: int, model: str, *, connections: int = 4, pause_seconds: float = 0.01) -> None:
        super().__init__(connections, pause_seconds)
        self._port = port
        self._path = f"/v2/models/{model}/infer"
        frame = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        self._image, self._media_type = encode_lossless(frame)

    def wait_for_answers(self, n: int, *, seconds: float = 60.0) -> None:
        """Wait for n more answers.

        Raises:
            TimeoutError: They did not come.
        """
        wanted = self._answers.answered + n
        end = time.monotonic() + seconds
        while self._answers.answered < wanted:
            if time.monotonic() > end:
                raise TimeoutError(f"no {n} requests were answered within {seconds:g} s")
            time.sleep(0.01)

    def _work(self) -> None:
        connection = self._connect()
        while not self._stop.wait(self._pause):
            began = time.perf_counter()
            reason = self._ask(connection)
            lost = False
            if reason:
                connection.close()
                connection = self._connect()
                lost = bool(self._ask(connection))
            self._note(began, lost=lost, broken=bool(reason), reason=reason)
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)

    def _ask(self, connection: http.client.HTTPConnection) -> str:
        """Send one frame; return what went wrong."""
        try:
            connection.request("POST", self._path, self._image, {"Content-Type": self._media_type})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        return "" if answer.status == 200 else f"{answer.status}: {body[:100]!r}"


class Launched:
    """A launched inference server on a device; a context that ends it.

    Args:
        line: The device and its cloud.
        options: Of ``launch``.
        arguments: More of ``serve``'s.
    """

    def __init__(self, line: Line, *options: str, arguments: tuple[str, ...] = ()) -> None:
        self.line = line
        self.store = SoftwareStore(line.folder / "state" / "software")
        self.log = line.folder / "launch.log"
        command = [sys.executable, "-m", "edge_client.cli", "launch", "--log-level", "info", *options]
        command += ["serve", "--json", "--port", "0", "--config", str(line.config), *arguments]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        if not ready:
            raise RuntimeError(f"the launched server did not start: {self.log.read_text()}")
        self.ready: dict[str, Any] = json.loads(ready)
        self.port = int(self.ready["http"].rsplit(":", 1)[1])

    def publish(self, version: str, *, replaced: Mapping[str, str] | None = None, needs: tuple[str, ...] = ()) -> bytes:
        """Approve a version and name it for every device; returns its wheel."""
        wheel = client_wheel(version, replaced=replaced, needs=needs)
        software.approve(self.line.repository, {wheel_name(version): wheel})
        software.choose(self.line.repository, version, SystemClock().now())
        return wheel

    def publish_damaged(self, version: str) -> None:
        """Approve a version, damage its wheel in the bucket, and name it for every device."""
        wheel = client_wheel(version)
        software.approve(self.line.repository, {wheel_name(version): wheel})
        digest = hashlib.sha256(wheel).hexdigest()
        stored = self.line.bucket.path / "releases/targets/client" / f"{digest}.{wheel_name(version)}"
        stored.write_bytes(wheel[:1000] + bytes([wheel[1000] ^ 1]) + wheel[1001:])
        software.choose(self.line.repository, version, SystemClock().now())

    def wait(self, done: Callable[[Self], bool], *, seconds: float = 400.0) -> float:
        """Wait until something is true; returns how long it took.

        Raises:
            TimeoutError: It was not in time.
        """
        begun = time.monotonic()
        while not done(self):
            if time.monotonic() - begun > seconds:
                raise TimeoutError(f"{self.store.load()}\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def runs(self, version: str) -> bool:
        """Whether a version is in service and confirmed."""
        state = self.store.load()
        held = state.at(state.active)
        return held is not None and held.version == version and held.confirmed

    def left(self, version: str) -> str:
        """Why a version was left; "" while it was not."""
        return next((reason for _, v, reason in self.store.load().quarantine if v == version), "")

    def refused(self, version: str) -> str:
        """Why the last offer, of this version, came to nothing; "" when it was another one or is being worked on."""
        try:
            told = json.loads((self.store.folder / "outcome.json").read_text())
        except (OSError, ValueError):
            return ""
        is_it = told["version"] == version and told["upgrade"] == "tried again"
        return str(told["reason"]) if is_it else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
