"""One run of one process: started in a process group of its own, ended with all its descendants."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from infra.stack.process_identity import ProcessIdentity, descendants, kill_all, kill_group
from infra.stack.processes import ProcessSpec


class Child:
    """A running process. Its output goes to `log`, appended; it outlives a supervisor that is killed."""

    def __init__(self, spec: ProcessSpec, *, directory: Path, log: Path) -> None:
        self.spec = spec
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                spec.command,
                cwd=directory,
                env=dict(spec.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._below: list[ProcessIdentity] = []
        self.identity = ProcessIdentity.of(self._process.pid)

    @property
    def pid(self) -> int:
        """Its pid, also of its process group."""
        return self._process.pid

    def ended(self) -> str | None:
        """How it ended, in words, or None while it runs.

        What it leaves of its group is killed before its pid is given back.
        """
        if self._process.returncode is None:
            waited = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if waited is None:
                return None
            kill_group(self.pid)  # the dead leader still holds the group's number: it can't be another's
            kill_all(self._below)
            self._process.wait()
            self._sweep()
        code = self._process.returncode
        return f"ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    @property
    def exit_code(self) -> int | None:
        """Its exit code once `ended` told that it did."""
        return self._process.returncode

    def terminate(self) -> None:
        """Ask it to end."""
        if self.ended() is None:
            self._below = descendants(self.pid)
            if self.spec.stop_group:
                os.killpg(self.pid, signal.SIGTERM)
            else:
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and everything below it at once."""
        if self.ended() is None:
            below = descendants(self.pid)
            kill_group(self.pid)
            kill_all(below)
            self._process.wait()
            self._sweep()

    def _sweep(self) -> None:
        for path in self.spec.litter:
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue  # another user's file of the same name: not ours
