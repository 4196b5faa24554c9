"""Is there enough room to start? A full disk during a write costs more than an error before it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from infra.stack.layout import StackError

#: The bucket writes to several volumes of 256 MB at a time, and takes no more than fit; a training run needs room too.
LEAST_FREE_BYTES = 2 << 30


def free_bytes(path: Path) -> int:
    """Bytes this user may still write on the disk of `path`, or of its nearest parent that exists."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def check_room(path: Path, *, least: int = LEAST_FREE_BYTES, free: Callable[[Path], int] = free_bytes) -> None:
    """Check that there is room.

    Raises:
        StackError: Less than `least` bytes are free.
    """
    found = free(path)
    if found < least:
        raise StackError(
            f"the disk of {path} has {found / 1e9:.2f} GB free, at least {least / 1e9:.2f} GB are needed to start: "
            "free some space, or choose a directory on another disk with --home"
        )
