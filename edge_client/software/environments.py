"""An environment of its own for one release of the client.

1. Nothing is fetched: only wheels that were downloaded and verified are installed, `pip` without index and without
   looking for dependencies. Whether all that they need is there, the self-check says (`self_check.py`).
2. What the base environment has is seen from the new one, behind what the new one holds: a release brings the client
   and what it newly needs, not the 250 MB below it.
3. All files are synced before the environment is named in the state.
"""

from __future__ import annotations

import errno
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_client.contract.errors import AndonError
from edge_client.updates.slots import sync_tree

_SECONDS = 300.0
_SEES_BASE = "andon-base.pth"


class BadEnvironment(AndonError):
    """The environment could not be built from the wheels that were published."""


def build(folder: Path, *, wheels: Sequence[Path], base_python: Path) -> Path:
    """Build an environment, and return its Python.

    Args:
        folder: Made anew; what it holds is removed.
        wheels: Verified files.
        base_python: Of the base environment.

    Raises:
        BadEnvironment: `pip` refuses the wheels.
        OSError: The disk failed or is full, or the base environment cannot build any (no `venv`, no `pip`).
    """
    shutil.rmtree(folder, ignore_errors=True)
    _run([base_python, "-I", "-m", "venv", "--without-pip", folder], "venv")
    python = folder / "bin" / "python"
    ask = "import json, sys, sysconfig; print(json.dumps([sysconfig.get_path('purelib'), sys.path]))"
    _, base_path = json.loads(_run([base_python, "-I", "-c", ask], "the base's Python"))
    own_site, _ = json.loads(_run([python, "-I", "-c", ask], "the new Python"))
    seen = [p for p in base_path if p.endswith(("site-packages", "dist-packages"))]
    (Path(own_site) / _SEES_BASE).write_text("".join(f"{path}\n" for path in seen))
    installing = [
        *(base_python, "-I", "-m", "pip", "--isolated", "--python", python, "install", "--quiet"),
        *("--no-index", "--no-deps", "--ignore-installed", "--no-cache-dir", "--no-warn-script-location"),
        *("--disable-pip-version-check", "--no-input", *wheels),
    ]
    done = _ended(installing, "pip")
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no word"]
        if "No space left" in done.stderr:
            raise OSError(errno.ENOSPC, said[-1])
        if "No module named pip" in done.stderr:
            raise OSError(f"the base environment of {base_python} has no pip: install it there")
        raise BadEnvironment(f"pip refuses the wheels: {said[-1][:400]}")
    sync_tree(folder)
    return python


def fits_this_machine(wheel: str) -> bool:
    """Whether a wheel's name is for this Python and machine, as far as names tell; ``any`` fits everywhere.

    >>> fits_this_machine("andon_edge-0.2.0-py3-none-any.whl")
    True
    >>> fits_this_machine("zstd-1.0-cp27-cp27m-win32.whl")
    False
    """
    python, abi, where = wheel.removesuffix(".whl").split("-")[-3:]
    ours = f"cp{sys.version_info.major}{sys.version_info.minor}"
    if not any(tag in (ours, "py3", ours[:2] + "3") or (abi == "abi3" and _older(tag)) for tag in python.split(".")):
        return False
    machine = re.sub(r"\W", "_", platform.machine().lower())
    system = {"linux": "linux", "darwin": "macosx", "win32": "win"}.get(sys.platform, sys.platform)
    return any(tag == "any" or (system in tag and tag.endswith(machine)) for tag in where.split("."))


def _older(tag: str) -> bool:
    return bool(re.fullmatch(r"cp3\d+", tag)) and int(tag[3:]) <= sys.version_info.minor


def _run(command: Sequence[object], what: str) -> str:
    """Run a step that is about this machine, not about the release."""
    done = _ended(command, what)
    if done.returncode != 0:
        raise OSError(f"{what} failed: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def _ended(command: Sequence[object], what: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in its time."""
    try:
        return subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"{what} did not end within {_SECONDS:g} s") from None
