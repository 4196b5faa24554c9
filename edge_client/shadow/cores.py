"""Which core a thread runs on, and keeping a process off it; where a system tells neither, nothing happens."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable


def _core_function() -> Callable[[], int] | None:
    """The C library's ``sched_getcpu``; Python has it not before 3.14."""
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError, AttributeError):
        return ctypes.CDLL(None).sched_getcpu
    return None


_CORE = _core_function()


def current_core() -> int:
    """Return the core that the calling thread runs on; -1 where it is not known."""
    return -1 if _CORE is None else int(_CORE())


def keep_off(pid: int, core: int) -> None:
    """Let a thread, or a process's first one, run on any core that this process may use but one.

    Args:
        pid: Its id.
        core: To be left free; below 0, or if it is the only one, nothing is changed.
    """
    if core < 0 or not hasattr(os, "sched_setaffinity"):
        return
    with contextlib.suppress(OSError):  # it has ended, or a container forbids it
        others = os.sched_getaffinity(0) - {core}
        if others:
            os.sched_setaffinity(pid, others)
