"""Which process a pid means: pids are reused, (pid, start time) is not."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import psutil

_SAME_SECONDS = 1.5  # psutil derives start times from the boot time, which a clock correction moves a little


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """A process that was seen alive."""

    pid: int
    started: float  # seconds since the epoch

    @staticmethod
    def of(pid: int) -> ProcessIdentity | None:
        """Identity of a running process, or None where there is none (a zombie is none)."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return ProcessIdentity(pid=pid, started=process.create_time())
        except psutil.Error:
            return None

    def alive(self) -> bool:
        """Whether this very process still runs."""
        now = ProcessIdentity.of(self.pid)
        return now is not None and abs(now.started - self.started) < _SAME_SECONDS

    def to_json(self) -> dict[str, Any]:
        """For stack.json."""
        return {"pid": self.pid, "started": self.started}

    @staticmethod
    def from_json(value: Any) -> ProcessIdentity | None:
        """Read back; None for anything that is not an identity."""
        if not isinstance(value, dict):
            return None
        pid, started = value.get("pid"), value.get("started")
        if isinstance(pid, int) and isinstance(started, int | float) and pid > 1:
            return ProcessIdentity(pid=pid, started=float(started))
        return None


def descendants(pid: int) -> list[ProcessIdentity]:
    """Every process below `pid`."""
    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    return [identity for child in below if (identity := ProcessIdentity.of(child.pid)) is not None]


def kill_all(identities: list[ProcessIdentity]) -> None:
    """SIGKILL those that still run."""
    for identity in identities:
        if identity.alive():
            try:
                os.kill(identity.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def kill_group(group: int) -> None:
    """SIGKILL a process group. Only call it while its leader is not reaped, or known to be ours."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
