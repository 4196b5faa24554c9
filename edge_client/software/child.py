"""One client process under the launcher: started, listened to, ended.

Standard library alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from edge_client.software import protocol
from edge_client.software.rules import Place
from edge_client.software.sockets import FIRST_DESCRIPTOR, environment_for

CANNOT_START = 127  # what a shell says when there is no such program
_PR_SET_PDEATHSIG = 1


class Child:
    """A client process.

    Args:
        command: Program and arguments.
        place: Where it is installed.
        folder: A short private folder for its notify socket.
        environment: Without what the protocol adds.
        sockets: Listening sockets to hand over.
        hang_seconds: After so long without a sign of life it hangs.

    Attributes:
        exit_code: As `subprocess` tells it, None while it runs.
        standing_by: It waits for the state folder.
        ready_at: When it came into service, on the monotonic clock.
        answered: Requests it has answered.
        lost: Requests it has lost.
    """

    _count = 0

    def __init__(
        self,
        command: Sequence[str],
        *,
        place: Place,
        folder: Path,
        environment: Mapping[str, str],
        sockets: Mapping[str, socket.socket],
        hang_seconds: float,
    ) -> None:
        Child._count += 1
        self.place = place
        self.exit_code: int | None = None
        self.standing_by = False
        self.ready_at: float | None = None
        self.answered = self.lost = 0
        self.hang_seconds = hang_seconds
        self._path = folder / str(Child._count)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self.socket.bind(str(self._path))
        self.started_at = self.heard_at = time.monotonic()
        told = {
            **environment,
            "NOTIFY_SOCKET": str(self._path),
            "WATCHDOG_USEC": str(int(hang_seconds * 1e6)),
        }
        told.pop("WATCHDOG_PID", None)
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            told.pop(name, None)
        parent = os.getpid()
        self.pid = os.fork()  # not subprocess: LISTEN_PID is the child's own, known only after the fork
        if self.pid == 0:
            _become(command, told, sockets, parent)

    def listen(self) -> list[dict[str, str]]:
        """Take the messages that wait, and return them; see whether the process has ended."""
        messages = []
        while True:
            try:
                message = protocol.fields(self.socket.recv(4096))
            except BlockingIOError:
                break
            messages.append(message)
            self.heard_at = time.monotonic()
            if "X_ANDON_STANDBY" in message:
                self.standing_by = True
            if message.get("READY") == "1" and self.ready_at is None:
                self.ready_at = self.heard_at
            self.answered = _count(message, protocol.ANSWERED, self.answered)
            self.lost = _count(message, protocol.LOST, self.lost)
        self._reap()
        return messages

    @property
    def hangs(self) -> bool:
        """Whether a client that was ready has been silent for too long."""
        return self.ready_at is not None and time.monotonic() - self.heard_at > self.hang_seconds

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        self._reap()
        return self.exit_code is None

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self.signal(signal.SIGKILL)
        if self.exit_code is None:
            _, status = os.waitpid(self.pid, 0)
            self.exit_code = os.waitstatus_to_exitcode(status)
        self.close()

    def close(self) -> None:
        """Remove its socket."""
        self.socket.close()
        self._path.unlink(missing_ok=True)

    def how_it_ended(self) -> str:
        """Say it for people."""
        code = self.exit_code
        if code is None:
            return "runs"
        if code == CANNOT_START:
            return "could not be started"
        served = time.monotonic() - (self.ready_at or 0.0)
        after = f"after {served:.0f} s in service" if self.ready_at is not None else "before it was ready"
        return f"ended {after} by {signal.Signals(-code).name}" if code < 0 else f"ended {after} with code {code}"

    def _reap(self) -> None:
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask Linux to send this process a signal when its parent dies."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def _count(message: Mapping[str, str], name: str, before: int) -> int:
    told = message.get(name, "")
    return int(told) if told.isdigit() and len(told) < 18 else before


def _become(
    command: Sequence[str], environment: dict[str, str], sockets: Mapping[str, socket.socket], parent: int
) -> NoReturn:
    """In the forked child: put the sockets where they belong, and become the program."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)
        die_with_parent(signal.SIGTERM)  # a client without its launcher would hold port and state folder
        if os.getppid() != parent:
            os._exit(CANNOT_START)
        # first out of the way, then into place: one of them may lie where another has to go
        spare = [os.dup(s.fileno()) for s in sockets.values()]
        high = [os.dup(fd) if fd < FIRST_DESCRIPTOR + len(spare) else fd for fd in spare]
        while any(fd < FIRST_DESCRIPTOR + len(high) for fd in high):
            high = [os.dup(fd) if fd < FIRST_DESCRIPTOR + len(high) else fd for fd in high]
        for i, fd in enumerate(high):
            os.dup2(fd, FIRST_DESCRIPTOR + i, inheritable=True)
        told = environment | environment_for(sockets, os.getpid())
        os.execve(command[0], list(command), told)  # noqa: S606 -- no shell is what is wanted
    except BaseException:  # noqa: BLE001 -- nothing of the launcher may go on running in the child
        os._exit(CANNOT_START)
