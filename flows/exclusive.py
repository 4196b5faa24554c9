"""One flow of a kind at a time in one installation, whoever starts it: the schedule, an event, or a person's command.

1. The lock is the kernel's (``flock``): it ends with the process that holds it, however that ends.
2. Where the catalog is on a server, flows may run on several machines: then a lock of that server is held as well.
3. Neither carries state; what a flow did is in the catalog, the registry and the bucket alone.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data.server_lock import Busy, on_a_server, server_lock
from data.workspace import catalog_url_of

__all__ = ["Busy", "only_one"]
_POLL_SECONDS = 0.2


@contextmanager
def only_one(
    home: Path, what: str, *, wait_seconds: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold the lock `what` of an installation.

    Raises:
        Busy: Somebody else held it for all of `wait_seconds`.
        LockUnavailable: The catalog's server does not answer.
    """
    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    with (folder / f"{what}.lock").open("a+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    lock.seek(0)
                    holder = lock.read(100).strip() or "unknown"
                    raise Busy(
                        f"{what}: another process (pid {holder}) has been at it for {wait_seconds:.0f} s or more; "
                        "wait for it to end, or look at it in Prefect"
                    ) from None
                sleep(_POLL_SECONDS)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        url = catalog_url_of(home)
        if not on_a_server(url):
            yield
            return
        with server_lock(url, what, wait_seconds=max(0.0, deadline - time.monotonic()), sleep=sleep):
            yield
