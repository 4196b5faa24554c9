"""The state of a link in a small file that all inspections on it share, under a file lock. A shell round `turns`.

1. The lock is the kernel's (flock): who is killed lets go of it. It is held for a read and a write.
2. A file of another length was cut: the link begins anew, today's bytes at 0.
3. A file that cannot be used (disk full, read-only, a holder that was stopped) costs the sharing, never an upload:
   this process goes on keeping to the limits alone, and `problem` says so.
"""

import fcntl
import math
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edge_client.uplink.turns import LinkState, reserve

_LAYOUT = struct.Struct("<dqq")  # free_at, day, used_bytes
_LOCK_SECONDS = 1.0


class SharedLink:
    """One user of a link.

    Args:
        path: The shared file.
        bytes_per_second: The limit; 0 is none.
        monotonic: Seconds, of the clock that all processes of this machine share.
        rest: Sleeps.
    """

    def __init__(
        self,
        path: Path,
        *,
        bytes_per_second: float,
        monotonic: Callable[[], float] = time.monotonic,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        self._path = path
        self._bytes_per_second = bytes_per_second
        self._monotonic = monotonic
        self._rest = rest
        self._alone = LinkState()
        self._own = threading.Lock()
        self.problem = ""

    def take(self, count: int, *, day: int) -> None:
        """Count bytes that are about to be sent, and rest until it is their turn."""
        waits: list[float] = []

        def turn(state: LinkState) -> LinkState:
            state, wait = reserve(
                state, at=self._monotonic(), day=day, count=count, bytes_per_second=self._bytes_per_second
            )
            waits.append(wait)
            return state

        self._change(turn)
        if waits[-1] > 0:
            self._rest(waits[-1])

    def used_on(self, day: int) -> int:
        """Return the bytes that all on the link sent on a local day."""
        return self._change(lambda state: state).used_on(day)

    def _change(self, change: Callable[[LinkState], LinkState]) -> LinkState:
        with self._own:
            try:
                self._alone = self._change_file(change)
            except OSError as error:
                self.problem = (
                    f"upload: {self._path} cannot be used ({error}): this inspection keeps to the upload limits alone; "
                    "check the disk and who may write there"
                )
                self._alone = change(self._alone)
            else:
                self.problem = ""
            return self._alone

    def _change_file(self, change: Callable[[LinkState], LinkState]) -> LinkState:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._lock(descriptor)
            before = os.pread(descriptor, _LAYOUT.size + 1, 0)
            state = LinkState()
            if len(before) == _LAYOUT.size:
                free_at, day, used = _LAYOUT.unpack(before)
                state = LinkState(free_at=free_at if math.isfinite(free_at) else 0.0, day=day, used_bytes=max(0, used))
            changed = change(state)
            if changed != state:
                if len(before) > _LAYOUT.size:
                    os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _LAYOUT.pack(changed.free_at, changed.day, changed.used_bytes), 0)
            return changed
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.001)
            else:
                return
