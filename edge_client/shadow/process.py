"""The client's end of the challenger's process: a frame goes in, an answer comes out, in bounded time."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import BadEngine
from edge_client.shadow.challenger import HEAD, MAX_LINE_BYTES
from edge_client.shadow.cores import keep_off

_START_SECONDS = 120.0  # it gets the processor only when nobody else wants it
_ANSWER_SECONDS = 60.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A challenger's answer to one frame; `cpu_seconds` is what it took."""

    verdict: str
    label: str
    defect_probability: float
    cpu_seconds: float


class Challenger(Protocol):
    """What answers frames in the shadow."""

    def answer(self, frame: NDArray[np.uint8], stopped: Callable[[], bool]) -> Answer:
        """Answer a frame, uint8 [H, W, 3].

        Raises:
            BadEngine: It could not.
            TimeoutError: It got no time of the processor, or `stopped` said to end the wait.
        """

    def hold(self) -> None:
        """Stop it where it stands. Returns at once; never raises."""

    def let_go(self) -> None:
        """Let it go on."""

    def keep_off(self, core: int) -> None:
        """Let it run on another core than this one; -1 if none is known."""

    def stop(self) -> None:
        """End it."""


class ChallengerProcess:
    """A challenger in a process of its own.

    Args:
        engine: Its file, which passed its trial.
        engine_sha256: Of that file.
        provider: Where it runs.
        memory_bytes: Most address space.
        stopped: Ends the wait for its start.

    Raises:
        BadEngine: It does not load.
        OSError: The process could not be started, or is not ready in time.
    """

    def __init__(
        self,
        engine: Path,
        *,
        engine_sha256: str,
        provider: str,
        memory_bytes: int,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "edge_client.shadow.challenger"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
            },
        )
        self._buffer = b""
        self._n = 0
        self._off = -1
        self._cpu = 0.0
        order = {
            "engine": str(engine),
            "engine_sha256": engine_sha256,
            "provider": provider,
            "memory_bytes": memory_bytes,
        }
        try:
            self._write(json.dumps(order).encode() + b"\n")
            told = self._read(_START_SECONDS, stopped)
        except (BadEngine, OSError) as error:
            self.stop()
            raise OSError(f"the challenger's process did not start: {error}") from error
        if "error" in told:
            self.stop()
            raise BadEngine(f"the challenger does not load: {told['error']}")
        self._cpu = float(told["cpu_seconds"])

    def answer(self, frame: NDArray[np.uint8], stopped: Callable[[], bool] = lambda: False) -> Answer:
        """Answer a frame; see `Challenger`."""
        self._n = (self._n + 1) % (1 << 32)
        self._write(HEAD.pack(self._n, *frame.shape[:2]))
        self._write(np.ascontiguousarray(frame).data.cast("B"))
        told = self._read(_ANSWER_SECONDS, stopped)
        while told.get("n") != self._n:  # to a frame that was no longer waited for
            told = self._read(_ANSWER_SECONDS, stopped)
        try:
            before, self._cpu = self._cpu, float(told["cpu_seconds"])
            if "error" in told:
                raise BadEngine(str(told["error"]))
            return Answer(
                verdict=str(told["verdict"]),
                label=str(told["label"]),
                defect_probability=float(told["defect_probability"]),
                cpu_seconds=self._cpu - before,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadEngine(f"the challenger answers something else: {error!r}") from error

    def hold(self) -> None:
        """Stop it where it stands; where a system has no such signal it goes on."""
        if hasattr(signal, "SIGSTOP"):
            self._signal(signal.SIGSTOP)

    def let_go(self) -> None:
        """Let it go on."""
        if hasattr(signal, "SIGCONT"):
            self._signal(signal.SIGCONT)

    def keep_off(self, core: int) -> None:
        """Let it run on another core than this one."""
        if core != self._off:
            self._off = core
            keep_off(self._child.pid, core)

    def stop(self) -> None:
        """End it."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self._child.send_signal(number)

    def _write(self, data: bytes | memoryview) -> None:
        assert self._child.stdin is not None
        left = memoryview(data)
        try:
            while left:  # a pipe takes part of a frame; Python's lock is free meanwhile
                left = left[os.write(self._child.stdin.fileno(), left) :]
        except OSError as error:
            raise BadEngine(f"the challenger's process has ended: {error}") from error

    def _read(self, seconds: float, stopped: Callable[[], bool]) -> dict[str, Any]:
        assert self._child.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            if stopped() or time.monotonic() > until:
                raise TimeoutError(f"the challenger did not answer within {seconds:g} s, or was not waited for")
            if not select.select([self._child.stdout], [], [], _LOOK_SECONDS)[0]:
                continue
            piece = os.read(self._child.stdout.fileno(), MAX_LINE_BYTES)
            if not piece or len(self._buffer) > MAX_LINE_BYTES:
                raise BadEngine("the challenger's process has ended")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            told = json.loads(line)
        except ValueError as error:
            raise BadEngine("the challenger answers no JSON") from error
        if not isinstance(told, dict):
            raise BadEngine("the challenger answers no object")
        return told
