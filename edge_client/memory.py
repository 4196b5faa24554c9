"""Memory that engines leave behind when they are exchanged, and how the system gets it back.

1. An engine that was swapped out is gone with its last request, and its arena with it: answers are copies
   (`Engine.run`). What remains is the C library's. glibc maps a large block for itself alone, and unmaps it when it is
   freed; but with every such block that is freed it raises the size from which it does so, up to 32 MB (mallopt(3),
   M_MMAP_THRESHOLD). After the first exchange the weights of the next engine lie in the heaps of whatever threads
   loaded them, among small blocks that live longer, and each exchange leaves some megabytes that no later engine fits
   into.
2. `map_large_blocks` fixes that size, so that an engine's memory is its own again. It holds for the whole process:
   commands call it, a library in someone's application does not. The application's environment can say the same:
   ``MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_TRIM_THRESHOLD_=4194304``.
3. `give_back` returns what is free besides.
"""

import contextlib
import ctypes
import gc
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
# Below lie a request's frame and answers, which should not cost page faults each time; above, an engine's weights.
_LARGE_BYTES = 1 << 20
# Fixing the one also fixes this at 128 kB, and heaps would shrink and grow with every frame.
_KEPT_BYTES = 4 << 20


def map_large_blocks() -> bool:
    """Let glibc map each block of a megabyte or more by itself for as long as the process lives.

    Call it before the first engine is loaded.

    Returns:
        False where the C library has no such choice (it is not glibc).
    """
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))
    return False


def give_back() -> bool:
    """Collect what only reference cycles hold and trim the heaps.

    Returns:
        False where the C library cannot trim (it is not glibc).
    """
    gc.collect()
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).malloc_trim(0))
    return False
