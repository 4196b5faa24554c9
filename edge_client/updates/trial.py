"""The trial of a new engine, in a child process with limits on memory and time.

``python -m edge_client.updates.trial`` reads one JSON order on standard input and writes one JSON report on standard
output. It

1. limits its own memory, processor time, files and core dumps before it loads anything;
2. checks digest, operators and metadata of the engine;
3. loads it and answers the signed self-test frames one by one, as service will;
4. compares the answers with the expected ones, and the median time with the budget.

What the engine certainly did is told from what may be the machine's fault (killed from outside, too slow on a busy
machine): the first means quarantine, the second another attempt.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_client.background import step_back

MAX_REPORT_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLimits:
    """What a trial may use.

    Attributes:
        seconds: Wall time of the whole trial; also its processor time on each thread.
        memory_bytes: Address space; Python with the runtime takes about 250 MB of it, a small engine as much again.
        latency_ms: Median time of one self-test frame.
    """

    seconds: float = 60.0
    memory_bytes: int = 2 * 1024**3
    latency_ms: float = 2000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrder:
    """What is to be tried, and what it must be."""

    engine: str  # path
    selftest: str  # path
    engine_sha256: str
    selftest_sha256: str
    engine_bytes: int
    inspection: str
    engine_id: str
    threads: int
    limits: TrialLimits
    provider: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """How a trial ended.

    Attributes:
        passed: The engine may go into service.
        certain: If not passed: the engine is at fault, not the machine.
        reason: What was found and what was expected.
        latency_ms: Median of one frame; 0 when none was answered.
    """

    passed: bool
    certain: bool = True
    reason: str = ""
    latency_ms: float = 0.0


def try_engine(order: TrialOrder) -> TrialReport:
    """Run the trial in a child process and wait for it.

    Raises:
        OSError: The child could not be started: no verdict on the engine.
    """
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        # thread pools reserve address space for every thread
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "edge_client.updates.trial"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(json.dumps(asdict(order)).encode(), timeout=order.limits.seconds)
    except subprocess.TimeoutExpired:
        return TrialReport(
            passed=False, certain=False, reason=f"the trial did not end within {order.limits.seconds:g} s"
        )
    finally:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    return _read_report(output, child.returncode)


def _read_report(output: bytes, code: int) -> TrialReport:
    with contextlib.suppress(ValueError, TypeError, UnicodeDecodeError):
        if len(output) <= MAX_REPORT_BYTES:
            report = TrialReport(**json.loads(output))
            if not (report.passed and code != 0):
                return report
    if code < 0:
        name = signal.Signals(-code).name
        # SIGKILL comes from outside: the kernel short of memory, or a person
        return TrialReport(passed=False, certain=code != -signal.SIGKILL, reason=f"the trial was ended by {name}")
    return TrialReport(passed=False, reason=f"the trial ended with code {code} and no report")


def _limit_resources(limits: TrialLimits) -> None:
    """Rule 1. Where the platform has no such limits the parent's time-out alone holds."""
    try:
        import resource
    except ImportError:
        return
    seconds = max(1, int(limits.seconds) + 1)
    wanted = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_CPU: seconds * (os.cpu_count() or 1),
        resource.RLIMIT_FSIZE: 0,  # it has nothing to write
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
    _die_with_parent()


def _die_with_parent() -> None:
    """Ask Linux to end this process when the device's process dies (prctl PR_SET_PDEATHSIG)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def answer_selftest(order: TrialOrder) -> TrialReport:
    """Rules 2 to 4, in the process that calls: the child, or a simulation."""
    import hashlib

    import numpy as np

    from edge_client.contract.errors import AndonError, ConfigError
    from edge_client.contract.selftest import SelfTest
    from edge_client.engine import Engine

    data, packed = Path(order.engine).read_bytes(), Path(order.selftest).read_bytes()
    for name, content, digest in (("engine", data, order.engine_sha256), ("self-test", packed, order.selftest_sha256)):
        if hashlib.sha256(content).hexdigest() != digest:
            return TrialReport(passed=False, certain=False, reason=f"the {name} on disk is not what was downloaded")
    try:
        test = SelfTest.unpack(packed)
        engine = Engine.from_bytes(data, threads=order.threads, provider=order.provider)
        found = engine.metadata
        if (found.inspection, found.engine_id) != (order.inspection, order.engine_id):
            return TrialReport(
                passed=False,
                reason=f"the engine is {found.engine_id!r} for {found.inspection!r}: expected {order.engine_id!r} for "
                f"{order.inspection!r}",
            )
        k = test.probabilities.shape[1]
        if k != len(found.classes):
            return TrialReport(
                passed=False, reason=f"self-test expects {k} classes, the engine has {len(found.classes)}"
            )
        engine.run(test.frames[:1])  # the first run allocates
        times, probabilities, anomaly = [], [], []
        for frame in test.frames:
            begun = time.perf_counter()
            output = engine.run(frame)
            times.append((time.perf_counter() - begun) * 1000)
            probabilities.append(output.probabilities[0])
            anomaly.append(output.anomaly[0])
    except MemoryError:
        return TrialReport(
            passed=False, reason=f"the engine needs more than {order.limits.memory_bytes} bytes of memory"
        )
    except ConfigError as error:  # the provider is not there: no verdict on the engine
        return TrialReport(passed=False, certain=False, reason=str(error))
    except AndonError as error:
        return TrialReport(passed=False, reason=str(error))
    latency = float(np.median(times))
    off = float(np.abs(np.stack(probabilities) - test.probabilities).max())
    strange = float(np.abs(np.array(anomaly) - test.anomaly).max())
    if not off <= test.tolerance or not strange <= 10 * test.tolerance:
        return TrialReport(
            passed=False,
            reason=f"self-test answers differ by {off:.4g} (probability) and {strange:.4g} (anomaly) on this device: "
            f"allowed are {test.tolerance:.4g} and {10 * test.tolerance:.4g}",
            latency_ms=latency,
        )
    if latency > order.limits.latency_ms:
        return TrialReport(
            passed=False,
            certain=False,
            reason=f"a frame takes {latency:.0f} ms on this device: allowed are {order.limits.latency_ms:g} ms",
            latency_ms=latency,
        )
    return TrialReport(passed=True, latency_ms=latency)


def _order_from(value: dict[str, Any]) -> TrialOrder:
    return TrialOrder(**{**value, "limits": TrialLimits(**value["limits"])})


def main() -> int:
    """Entry point of the child process."""
    order = _order_from(json.loads(sys.stdin.buffer.read(MAX_REPORT_BYTES)))
    # the report alone goes to the real standard output, whatever a library prints
    report_to = os.dup(1)
    os.dup2(2, 1)
    _limit_resources(order.limits)
    step_back()  # the line's own frames come first
    report = answer_selftest(order)
    os.write(report_to, json.dumps(asdict(report)).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
