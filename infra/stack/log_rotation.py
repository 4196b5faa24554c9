"""Bounded logs. Processes append to their files; a full file is copied aside and cut to nothing.

A process never has to reopen its log, and one that outlives the supervisor goes on writing. Lines written between the
copy and the cut, some microseconds, are lost: acceptable for a log, not done for anything else.
"""

import os
import shutil
from pathlib import Path

MOST_BYTES = 10 << 20
KEPT = 3


def rotate(log: Path, *, most_bytes: int = MOST_BYTES, kept: int = KEPT) -> bool:
    """Rotate a log that is larger than `most_bytes` into ``.1`` … ``.kept``; tell whether it was."""
    try:
        if log.stat().st_size <= most_bytes:
            return False
    except FileNotFoundError:
        return False
    for n in range(kept - 1, 0, -1):
        older = log.with_name(f"{log.name}.{n}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{n + 1}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)
    return True


def tail(log: Path, lines: int = 12, most_bytes: int = 16_384) -> str:
    """The last lines of a log, or a word on why there are none."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - most_bytes))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"({log}: {error.strerror})"
    return "\n".join(text.strip().splitlines()[-lines:]) or f"({log} is empty)"
