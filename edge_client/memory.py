"""Giving memory that is free inside the process back to the system.

glibc keeps what threads have freed in their arenas. An engine that was swapped out leaves its megabytes there, in an
arena that the next engine may not be loaded from, so that a process with many threads grows by an engine a swap for a
while. Trimming returns them.
"""

import contextlib
import ctypes
import gc
import sys


def give_back() -> bool:
    """Collect what only reference cycles hold, an old engine among it, and trim the heap.

    Returns:
        False where the C library cannot trim (it is not glibc).
    """
    gc.collect()
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).malloc_trim(0))
    return False
