"""Looking at an engine before its digest is signed.

1. Size, operators, graph and metadata are checked as a device checks them (`check_onnx`).
2. The signed self-test is really run: by the very program with which devices try an engine, in a child process with its
   limits on memory and time. An engine that fails here would be put into quarantine by every device.
3. This machine is no device: how long a frame takes here decides nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from edge_client.contract.errors import BadEngine, Unavailable
from edge_client.contract.onnx_check import check_onnx


class FailedInspection(BadEngine):
    """An engine that must not be signed; no device would take it."""


#: (inspection, engine id, engine, self-test); raises BadEngine or BadRelease.
Inspect = Callable[[str, str, bytes, bytes], None]
_TRIAL = "edge_client.updates.trial"  # run as a program: the cloud side imports nothing of the edge but its contract
_SECONDS = 300.0  # of a busy machine; alone it takes seconds
_MEMORY_BYTES = 4 * 1024**3
_MOST_REPORT_BYTES = 65_536


def inspect_engine(inspection: str, engine_id: str, engine: bytes, selftest: bytes) -> None:
    """Look at an engine and run its self-test.

    Raises:
        FailedInspection: It must not be signed.
        BadRelease: The self-test can't be read.
        Unavailable: The trial could not be carried out on this machine: no verdict.
    """
    try:
        found = check_onnx(engine).metadata
    except BadEngine as error:
        raise FailedInspection(f"engine {engine_id!r} is not signed: {error}") from error
    if (found.inspection, found.engine_id) != (inspection, engine_id):
        raise FailedInspection(
            f"engine says it is {found.engine_id!r} for {found.inspection!r}: it can't be published as "
            f"{engine_id!r} for {inspection!r}"
        )
    from edge_client.contract.selftest import SelfTest  # numpy: not every process that signs looks at engines

    SelfTest.unpack(selftest)
    report = _try(inspection, engine_id, engine, selftest)
    reason = str(report.get("reason", ""))
    if not report.get("passed"):
        if report.get("certain"):
            raise FailedInspection(f"engine {engine_id!r} is not signed, its self-test did not pass: {reason}")
        raise Unavailable(f"the self-test of engine {engine_id!r} could not be run here: {reason}; try again")


def _try(inspection: str, engine_id: str, engine: bytes, selftest: bytes) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="andon-inspect-") as folder:
        place = Path(folder)
        (place / "engine.onnx").write_bytes(engine)
        (place / "engine.selftest").write_bytes(selftest)
        order = {
            "engine": str(place / "engine.onnx"),
            "selftest": str(place / "engine.selftest"),
            "engine_sha256": hashlib.sha256(engine).hexdigest(),
            "selftest_sha256": hashlib.sha256(selftest).hexdigest(),
            "engine_bytes": len(engine),
            "inspection": inspection,
            "engine_id": engine_id,
            "threads": 1,
            "provider": "cpu",
            "limits": {"seconds": _SECONDS, "memory_bytes": _MEMORY_BYTES, "latency_ms": 1e9},
        }
        return _run(json.dumps(order).encode(), engine_id)


def _run(order: bytes, engine_id: str) -> dict[str, object]:
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    child = subprocess.Popen(
        [sys.executable, "-m", _TRIAL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            # thread pools reserve address space for every thread
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        },
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(order, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise FailedInspection(
            f"engine {engine_id!r} is not signed: its self-test did not end within {_SECONDS:g} s"
        ) from None
    finally:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    with contextlib.suppress(ValueError):
        report = json.loads(output[:_MOST_REPORT_BYTES])
        if isinstance(report, dict) and child.returncode == 0:
            return report
    if child.returncode == -signal.SIGKILL:  # from outside: the kernel short of memory, or a person
        return {"passed": False, "certain": False, "reason": "the trial was killed"}
    return {"passed": False, "certain": True, "reason": f"the trial ended with code {child.returncode} and no report"}
