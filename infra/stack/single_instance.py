"""File locks: one supervisor a home directory, one `andon up` at a time.

The kernel gives them back when a process dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.stack.layout import StackError
from infra.stack.process_identity import ProcessIdentity


class FileLock:
    """An exclusive lock on a file, which names its holder for people and for `andon down`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock if nobody holds it; tell whether it was taken."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        identity = ProcessIdentity.of(os.getpid())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(identity.to_json() if identity else {}).encode(), 0)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def holder(path: Path) -> ProcessIdentity | None:
    """The living process that holds the lock."""
    if not is_held(path):
        return None
    try:
        identity = ProcessIdentity.from_json(json.loads(path.read_text()))
    except (OSError, ValueError):
        return None
    return identity if identity is not None and identity.alive() else None


@contextmanager
def locked(
    path: Path, *, what: str, seconds: float = 60.0, sleep: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold a lock; wait for it at most so long.

    Raises:
        StackError: Another process holds it all the time.
    """
    lock = FileLock(path)
    waited = 0.0
    while not lock.acquire():
        if waited >= seconds:
            other = holder(path)
            raise StackError(
                f"{what} waited {seconds:.0f} s for another `andon up` or `andon down`"
                f"{f' (process {other.pid})' if other else ''}: let it finish or end it, then try again"
            )
        sleep(0.1)
        waited += 0.1
    try:
        yield
    finally:
        lock.release()
