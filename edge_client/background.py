"""Threads that work beside inference get the processor when inference does not need it.

On Linux priorities belong to threads, so the application's own threads keep theirs; elsewhere nothing changes.
"""

import contextlib
import os
import sys
import threading

_NICE = 10  # a tenth of the share of a normal thread where both want the same core


def step_back() -> None:
    """Lower the calling thread's priority."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):  # a container may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
