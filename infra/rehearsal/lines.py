"""The line, acted: for each device a real `andon-edge run` process, and a folder in which camera frames appear.

1. A frame appears in the folder whole (linked or renamed, never half written), in the plan's order; the file's name
   carries the part id.
2. While no frame waits the device inspects reference parts, uncaptured, so that it never stands still: engines are
   swapped under load.
3. A process that was killed is started again with the same state folder; frames that it had not finished are
   inspected then.
4. What a process did is read from its state folder and its own `andon-edge` commands, not kept here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_client.contract.errors import AndonError
from infra.rehearsal.plan import Frame, LineDevice

FRAMES_PER_SECOND = 30.0  # three devices, two cores, and the flows beside them
REFERENCE_PER_SECOND = 4.0  # a line at rest leaves the processor to the flows
STOP_SECONDS = 30.0


class LineStopped(AndonError):
    """A device process ended by itself, or does not get on; the message shows the end of its log."""


@dataclass(slots=True)
class Line:
    """One device process with its folders.

    Attributes:
        name: Under which it is enrolled.
        device: The plan's device.
        bundle: What `andon enroll` wrote: configuration, key, factory engine.
        incoming: Where camera frames appear.
        reference: Parts that are inspected while no frame waits.
    """

    name: str
    device: LineDevice
    bundle: Path
    incoming: Path
    reference: Path
    kills: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _past: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def config(self) -> Path:
        """The device's configuration."""
        return self.bundle / "andon.toml"

    @property
    def log(self) -> Path:
        """The process's log."""
        return self.bundle / "run.log"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the process."""
        self.incoming.mkdir(parents=True, exist_ok=True)
        command = [
            *_edge("run"),
            *("--config", str(self.config), "--source", str(self.incoming), "--follow", "--consume"),
            *("--reference", str(self.reference), "--fps", str(FRAMES_PER_SECOND)),
            *("--reference-fps", str(REFERENCE_PER_SECOND)),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)

    def show(self, frames: Iterable[Frame]) -> None:
        """Let frames appear in the folder, in this order."""
        for frame in frames:
            name = f"{part_id(frame)}{frame.path.suffix.lower()}"
            hidden = self.incoming / f".{name}.part"
            shutil.copyfile(frame.path, hidden)
            hidden.rename(self.incoming / name)

    def kill(self) -> None:
        """End the process as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            self._keep_counts()
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(STOP_SECONDS)
            self.kills += 1

    def stop(self) -> None:
        """End the process in good order."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        self._keep_counts()
        self._process = None

    def check(self) -> None:
        """Raise if the process ended by itself.

        Raises:
            LineStopped: It did.
        """
        if self._process is not None and self._process.poll() is not None:
            raise LineStopped(f"device {self.device.name} ended with code {self._process.returncode}:\n{self._tail()}")

    def waiting(self) -> int:
        """Return how many frames are still in the folder."""
        return sum(1 for path in self.incoming.iterdir() if path.is_file() and not path.name.startswith("."))

    def run_state(self) -> dict[str, Any]:
        """Return what the running process says of itself (empty before it says anything)."""
        try:
            state = json.loads((self.bundle / "state" / "run.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def counts(self) -> dict[str, int]:
        """Return requests, answered, lost and swaps over all processes of this line."""
        now = {} if self.pid is None else _counted(self.run_state())
        return {key: self._past.get(key, 0) + now.get(key, 0) for key in ("requests", "answered", "lost", "swaps")}

    def ask(self, command: str) -> Any:
        """Run an `andon-edge` command of this device and return its JSON.

        Raises:
            LineStopped: It failed.
        """
        done = subprocess.run(
            [*_edge(command), "--config", str(self.config), "--json"], capture_output=True, timeout=60, check=False
        )
        if done.returncode not in (0, 1):
            raise LineStopped(
                f"andon-edge {command} of {self.device.name}: {done.stderr.decode(errors='replace')[-800:]}"
            )
        return json.loads(done.stdout)

    def _keep_counts(self) -> None:
        for key, value in _counted(self.run_state()).items():
            self._past[key] = self._past.get(key, 0) + value

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def part_id(frame: Frame) -> str:
    """Return the id under which a frame's part passes the line; in the plan's order when sorted."""
    return f"{frame.turn:06d}-{frame.frame_id}"


def wait_for(
    lines: Sequence[Line],
    done: Callable[[Line], bool],
    what: str,
    *,
    deadline_seconds: float,
    tick: Callable[[], None] = lambda: None,
    poll_seconds: float = 0.5,
) -> None:
    """Wait until `done` holds for every line.

    Raises:
        LineStopped: A process ended, or the deadline passed; the message says what was waited for and how things stand.
    """
    end = time.monotonic() + deadline_seconds
    open_lines = list(lines)
    while open_lines:
        for line in list(open_lines):
            line.check()
            if done(line):
                open_lines.remove(line)
        if open_lines and time.monotonic() > end:
            names = ", ".join(line.device.name for line in open_lines)
            raise LineStopped(
                f"after {deadline_seconds:.0f} s still waiting for {names}: {what}; {open_lines[0].run_state()}\n"
                f"{open_lines[0]._tail()}"
            )
        if open_lines:
            tick()
            time.sleep(poll_seconds)


def make_reference(frames: Sequence[Frame], folder: Path) -> Path:
    """Put a few factory frames into a folder as reference parts."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        shutil.copyfile(frame.path, folder / f"{number:03d}{frame.path.suffix.lower()}")
    return folder


def _counted(state: Mapping[str, Any]) -> dict[str, int]:
    return {key: int(state.get(key, 0)) for key in ("requests", "answered", "lost", "swaps")}


def _edge(command: str) -> list[str]:
    return [sys.executable, "-m", "edge_client.cli", command]
