"""Giving memory that is free inside the process back to the system.

glibc keeps what threads have freed in their arenas. An engine that was swapped out leaves its megabytes there, in an
arena that the next engine may not be loaded from, so that a process with many threads grows by an engine a swap for a
while. Trimming returns them.
"""

import contextlib
import ctypes
import sys


def give_back() -> bool:
    """Trim the heap; False where the C library cannot (it is not glibc)."""
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).malloc_trim(0))
    return False
