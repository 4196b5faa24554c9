"""Runs a new environment's self-check and reads its report: what the client in service believes of another one.

The report comes from software that may be broken in any way: it is read in bounds, and the time is limited. What the
release certainly did is told from what may be the machine's fault (killed from outside, out of time).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_client.software.state_format import STATE_FORMAT

MAX_REPORT_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOrder:
    """What is to be checked.

    Attributes:
        version: The client's version that must be found.
        words: The command line that it will be started with.
        scratch: An empty folder on the state's filesystem.
        wheels: Names of the wheels that were installed: what they need must be there.
    """

    version: str
    words: tuple[str, ...]
    scratch: str
    wheels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """How it ended.

    Attributes:
        passed: The release may go into service.
        certain: If not: the release is at fault, not the machine.
        readable_by: Least state format of a client that can go on from this one's state.
        frames: Answers that were compared.
    """

    passed: bool
    certain: bool = True
    reason: str = ""
    readable_by: int = 0
    frames: int = 0


def check_environment(python: Path, order: CheckOrder, *, working_folder: Path, seconds: float) -> CheckReport:
    """Run the self-check of an environment, and judge it.

    Raises:
        OSError: It could not be started.
    """
    child = subprocess.Popen(
        [str(python), "-I", "-m", "edge_client.software.self_check"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=working_folder,
        env={
            k: v for k, v in os.environ.items() if not k.startswith(("ANDON_EDGE_", "NOTIFY_", "LISTEN_", "WATCHDOG_"))
        },
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(json.dumps(asdict(order)).encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        return CheckReport(passed=False, certain=False, reason=f"its self-check did not end within {seconds:g} s")
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        if child.poll() is None:
            child.communicate()
    report = _read(output, child.returncode, errors)
    if report.passed and report.readable_by > STATE_FORMAT:
        return CheckReport(
            passed=False,
            reason=f"its state could not be used again by the client in service: that takes state format "
            f"{report.readable_by}, this one has {STATE_FORMAT}; upgrade to a version between them first",
        )
    return report


def _read(output: bytes, code: int, errors: bytes) -> CheckReport:
    with contextlib.suppress(ValueError, TypeError):
        if len(output) <= MAX_REPORT_BYTES:
            found = json.loads(output)
            known = {k: v for k, v in found.items() if k in CheckReport.__dataclass_fields__}
            report = CheckReport(**known)
            if report.passed is True and code == 0 and isinstance(report.readable_by, int):
                return report
            if report.passed is False:
                return CheckReport(passed=False, certain=report.certain is not False, reason=str(report.reason)[:500])
    said = errors.decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
    if code < 0:
        name = signal.Signals(-code).name
        return CheckReport(
            passed=False, certain=code != -signal.SIGKILL, reason=f"its self-check was ended by {name}: {said[0][:300]}"
        )
    return CheckReport(passed=False, reason=f"its self-check ended with code {code} and no report: {said[0][:300]}")
