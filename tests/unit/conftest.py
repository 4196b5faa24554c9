"""Unit tests keep their files in memory where the machine has room for it: most of their waiting was for fsync.

What they show does not rest on a disk; what does (kill -9, power cuts, real servers) is under tests/integration.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 2 << 30  # a run leaves a tenth of it


def pytest_configure(config: pytest.Config) -> None:
    """Choose the folder before the first temporary path is asked for; workers of xdist are given theirs."""
    if _usable(_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def _usable(folder: Path) -> bool:
    try:
        flags = os.statvfs(folder).f_flag
        return os.access(folder, os.W_OK) and not flags & os.ST_NOEXEC and shutil.disk_usage(folder).free > _ROOM_BYTES
    except OSError:
        return False
