"""A device's process killed (SIGKILL) in place of the n-th change that it makes to its disk, and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """What became of a device that was killed.

    Attributes:
        n: In place of which change.
        seconds_to_serve: From the start of the new process, imports and all, to its first answer.
        served: Digest of the engine that gave it; "" when none did.
        ended: Digest of the engine that it came to.
        well: It ended steady, without a lost frame or a quarantine.
    """

    n: int
    seconds_to_serve: float
    served: str
    ended: str
    well: bool


def count_changes(template: Path, work: Path, shim: Path) -> int:
    """Let an update run to its end; return how many changes it makes to the disk."""
    _copy(template, work)
    journal = work.with_name("journal")
    done = _device(work, {"LD_PRELOAD": str(shim), "SHIM_ROOT": str(work / "state"), "SHIM_JOURNAL": str(journal)})
    done.check_returncode()
    from tests.integration.capture.crash.disk import read_journal

    return sum(not change.path.endswith("-shm") for change in read_journal(journal))


def kill_at(template: Path, work: Path, shim: Path, n: int) -> bool:
    """Kill a device at its n-th change; False when it ended before."""
    _copy(template, work)
    done = _device(work, {"LD_PRELOAD": str(shim), "SHIM_ROOT": str(work / "state"), "SHIM_KILL_AT": str(n)})
    return done.returncode == -signal.SIGKILL


def restart(work: Path, n: int) -> Restart:
    """Start the device again and let it go on."""
    begun = time.perf_counter()
    process = subprocess.Popen(_command(work), cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    seconds = time.perf_counter() - begun
    last = process.communicate(timeout=300)[0]
    served = json.loads(first)["serving"] if first else ""
    end = json.loads(last) if process.returncode == 0 and last else {}
    well = (end.get("phase"), end.get("lost"), end.get("quarantined")) == ("steady", 0, [])
    return Restart(n=n, seconds_to_serve=seconds, served=served, ended=end.get("engine", ""), well=well)


def _copy(template: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(template, work, symlinks=True, copy_function=_linked)


def _linked(source: str, target: str) -> str:
    """Copy what a device changes; what it only reads is the same file."""
    if "/cloud/" in source:
        os.link(source, target)
        return target
    return str(shutil.copy2(source, target))


def _device(work: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        _command(work), cwd=_ROOT, env={**os.environ, **environment}, check=False, capture_output=True, timeout=300
    )


def _command(work: Path) -> list[str]:
    inspection = (work / "inspection").read_text()
    return [sys.executable, "-m", "tests.integration.updates.power.device", str(work), inspection]
