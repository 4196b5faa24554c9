"""The state folder: room, and a real write with fsync."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_client.config import Config
from edge_client.doctor.finding import Finding, ok, problem, warning

_TRIES = 3
_TRIAL_BYTES = 262_144  # about one captured frame
_SLOW_SECONDS = 1.0  # a commit of capture takes a few of these; candidates then wait for it


def check_state(config: Config, *, now: Callable[[], float] = time.perf_counter) -> Iterator[Finding]:
    """Try the disk as capture uses it.

    Args:
        config: The device's configuration.
        now: Seconds, for timing the disk.
    """
    folder = config.device.state
    try:
        folder.mkdir(parents=True, exist_ok=True)
        slowest = max(_write(folder, now) for _ in range(_TRIES))
    except OSError as error:
        yield problem(
            "state",
            f"{folder} cannot be written: {error}",
            "check that the disk is mounted for writing and that this user owns the folder; device.state names another",
        )
        return
    yield from _room(config, folder) or [
        ok("state", f"{folder}, {_free(folder) // 1_000_000} MB free, a durable write took {slowest * 1e3:.0f} ms")
    ]
    if slowest > _SLOW_SECONDS:
        yield warning(
            "state",
            f"a write of {_TRIAL_BYTES // 1024} kB with fsync took {slowest:.1f} s: expected below {_SLOW_SECONDS:g} s",
            "capture goes on but may turn frames away; look for a worn card or another heavy writer",
        )


def _room(config: Config, folder: Path) -> list[Finding]:
    free, capture = _free(folder), config.capture
    if not capture.enabled:
        return []
    if free < capture.reserve_bytes:
        return [
            problem(
                "state",
                f"{free} bytes free in {folder}, capture.reserve_bytes is {capture.reserve_bytes}: nothing is captured",
                "free some space, or lower capture.reserve_bytes",
            )
        ]
    room = free - capture.reserve_bytes + _held(folder / "spool")
    if room < capture.spool_bytes:
        return [
            warning(
                "state",
                f"capture.spool_bytes is {capture.spool_bytes}, the disk has room for {room}: the spool is bounded by "
                "that, and an outage is bridged for a shorter time",
                "free some space, or lower capture.spool_bytes so that the bound is the one you set",
            )
        ]
    return []


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _held(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else 0


def _write(folder: Path, now: Callable[[], float]) -> float:
    begun = now()
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".doctor-")
    try:
        os.write(descriptor, os.urandom(_TRIAL_BYTES))  # nothing that a filesystem could compress away
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        Path(name).unlink()
    parent = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
    return now() - begun
