"""How an engine is run on this device: provider, threads, runs at once, frames a run.

1. What the configuration names holds.
2. What it leaves open (``provider = "auto"``, ``threads = 0``, ``slots = 0``) comes from what `andon-edge tune`
   measured on this device, if the processor and ONNX Runtime are still those of the measurement.
3. Else: the processor, one thread a run, one run a core. One-thread runs need no session of their own: ONNX Runtime
   computes a call on the thread that makes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

AUTO = "auto"
FILE = "tuning.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """How to run an engine.

    Attributes:
        provider: `cpu`, `openvino`, `cuda` or `tensorrt`.
        threads: Threads of one run.
        slots: Most runs at once.
        batch: Most frames of one run where requests are gathered.
    """

    provider: str = "cpu"
    threads: int = 1
    slots: int = 1
    batch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One way to run an engine, and how fast it was.

    Attributes:
        frames_per_second: All runs together, median of the rounds.
        low, high: Least and most of the rounds.
        latency_ms: Median time of one run.
        latency_ms_p99: 99 % of the runs are faster.
        n: Runs timed.
    """

    runtime: Runtime
    frames_per_second: float
    low: float
    high: float
    latency_ms: float
    latency_ms_p99: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What was measured on a device, and what follows.

    Attributes:
        processor: Its model name.
        cores: Cores this process may use.
        onnxruntime: The version.
        single: The best for one frame at a time.
        parallel: The best for many requests at once.
        measured: All that was tried.
        refused: Provider → why it may not be used.
    """

    processor: str
    cores: int
    onnxruntime: str
    single: Runtime
    parallel: Runtime
    measured: tuple[Measured, ...]
    refused: Mapping[str, str]

    def holds(self, *, processor: str, cores: int, onnxruntime: str, providers: Sequence[str]) -> bool:
        """Whether it was measured on such a machine, and the providers it chose are still there."""
        same = (self.processor, self.cores, self.onnxruntime) == (processor, cores, onnxruntime)
        return same and {self.single.provider, self.parallel.provider} <= set(providers)

    def to_json(self) -> str:
        """Serialise for the state folder."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def from_json(text: str) -> Tuning:
        """Read what `to_json` wrote.

        Raises:
            ValueError, TypeError, KeyError: It is something else.
        """
        value: dict[str, Any] = json.loads(text)
        measured = tuple(Measured(**{**m, "runtime": _runtime(m["runtime"])}) for m in value.pop("measured"))
        single, parallel = (_runtime(value.pop(name)) for name in ("single", "parallel"))
        return Tuning(**value, single=single, parallel=parallel, measured=measured)


def _runtime(value: Mapping[str, Any]) -> Runtime:
    runtime = Runtime(**value)
    counts = [getattr(runtime, f.name) for f in fields(Runtime) if f.name != "provider"]
    if not isinstance(runtime.provider, str) or not all(isinstance(c, int) and 1 <= c <= 256 for c in counts):
        raise ValueError(f"{value} is not a runtime: expected a provider's name and numbers from 1 to 256")
    return runtime


def resolve(*, provider: str, threads: int, slots: int, goal: str, cores: int, tuning: Tuning | None) -> Runtime:
    """Fill in what a configuration leaves open (rules 1 to 3).

    Args:
        provider: A provider or `auto`.
        threads: 0 for auto.
        slots: 0 for auto.
        goal: `latency` (one frame at a time) or `throughput` (many requests).
        cores: Cores this process may use.
        tuning: What holds on this device.
    """
    tuned = None if tuning is None else (tuning.parallel if goal == "throughput" else tuning.single)
    if tuned is None or provider not in (AUTO, tuned.provider) or threads not in (0, tuned.threads):
        threads = max(1, threads)
        tuned = Runtime(
            provider="cpu" if provider == AUTO else provider, threads=threads, slots=max(1, cores // threads)
        )
    return replace(tuned, slots=slots or tuned.slots)


def server_slots(runtime: Runtime) -> int:
    """Return how many requests a server lets run at once.

    One more than the engine's runs where a run has one thread: while a request is read or answered, another keeps its
    core busy. Runs of several threads share one pool of them, and one more would only wait for it.

    >>> server_slots(Runtime(threads=1, slots=2)), server_slots(Runtime(threads=2, slots=1))
    (3, 1)
    """
    return runtime.slots + 1 if runtime.threads == 1 else runtime.slots


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's model, "" where the system does not tell."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    named = [line.split(":", 1)[1].strip() for line in lines if line.lower().startswith(("model name", "hardware"))]
    return named[0] if named else ""


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_tuning(state: Path) -> Tuning | None:
    """Return what was measured on this device; None if nothing, if the file is damaged, or if it no longer holds."""
    import onnxruntime

    from edge_client.engine import available_providers

    try:
        tuning = Tuning.from_json((state / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    there = available_providers()
    holds = tuning.holds(
        processor=processor_name(), cores=usable_cores(), onnxruntime=onnxruntime.__version__, providers=there
    )
    return tuning if holds else None
