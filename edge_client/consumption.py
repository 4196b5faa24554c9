"""What this process costs: processor time, memory, energy; in all, and for each inspected frame.

All is measured from the meter's start, so that a start-up (imports, loading an engine) is not charged to the frames.
With several clients in one process each shows the cost of the whole process.
"""

import os
import resource
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_client.clock import Clock, SystemClock
from edge_client.energy import POWERCAP, EnergyMeter


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """Cost since the start.

    Attributes:
        pid: The process.
        started_at: ISO 8601, UTC.
        uptime_seconds: Since then, by a clock that does not jump.
        cpu_seconds: Processor time of all threads, user and system.
        cpu_seconds_per_frame: That for each answered frame; None before the first.
        memory_bytes: Resident now; 0 where the system does not tell.
        memory_peak_bytes: Most that was ever resident in this process.
        threads: Python threads that run.
        energy_joules: Of the whole package, everything on it; None where it can't be read.
        energy_joules_per_frame: That for each answered frame.
        energy_note: Why there is no energy figure, or "".
    """

    pid: int
    started_at: str
    uptime_seconds: float
    cpu_seconds: float
    cpu_seconds_per_frame: float | None
    memory_bytes: int
    memory_peak_bytes: int
    threads: int
    energy_joules: float | None
    energy_joules_per_frame: float | None
    energy_note: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


class ConsumptionMeter:
    """Measures this process from now on. Safe to use from several threads.

    Args:
        powercap: The kernel's powercap tree.
        clock: The device's clock.
    """

    def __init__(self, *, powercap: Path = POWERCAP, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._energy = EnergyMeter(powercap, clock=self._clock)
        self._started_at = self._clock.now().isoformat()
        self._start = self._clock.monotonic()
        self._cpu_start = time.process_time()

    def keep_up(self) -> None:
        """Read the energy counters, which wrap, when nobody asks for the status for long."""
        with self._lock:
            self._energy.read()

    def read(self, frames: int) -> Consumption:
        """Return the cost so far.

        Args:
            frames: Frames answered since the start.
        """
        with self._lock:
            energy = self._energy.read()
        cpu = time.process_time() - self._cpu_start
        memory = _resident_bytes()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB, and lags a little
        return Consumption(
            pid=os.getpid(),
            started_at=self._started_at,
            uptime_seconds=round(self._clock.monotonic() - self._start, 3),
            cpu_seconds=cpu,
            cpu_seconds_per_frame=cpu / frames if frames else None,
            memory_bytes=memory,
            memory_peak_bytes=max(memory, peak),
            threads=threading.active_count(),
            energy_joules=energy.joules,
            energy_joules_per_frame=energy.joules / frames if frames and energy.joules is not None else None,
            energy_note=energy.reason,
        )


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
