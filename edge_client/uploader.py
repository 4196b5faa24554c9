"""Sends windows to the bucket: shards first, the signed record last, oldest window first.

1. A window counts only when its record is up; a crash or an outage in between repeats puts of the same objects.
2. No error removes anything. `Unavailable` and everything unexpected: try again with exponential backoff and jitter.
   `Refused` (401, 403): the same, and `problem` says that the credentials need attention.
3. Only one thread sends; `flush` sends on the caller's thread while it is between two attempts.
"""

import logging
import random
import threading
from collections.abc import Callable

from edge_client.clock import Clock, SystemClock
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError, Refused
from edge_client.contract.names import record_key, shard_key
from edge_client.outbox import Outbox

log = logging.getLogger("edge_client.uploader")

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 300.0  # a cloud that comes back is noticed within five minutes
_POLL_SECONDS = 5.0  # looks for a window even if nobody rang


def backoff_seconds(failures: int, jitter: Callable[[], float]) -> float:
    """Return the pause after the n-th failure in a row: doubling from 1 s to 5 min, times a jitter in [0.5, 1).

    >>> [backoff_seconds(n, lambda: 1.0) for n in (1, 2, 3, 20)]
    [1.0, 2.0, 4.0, 300.0]
    """
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 30))
    return longest * (0.5 + 0.5 * jitter())


class Uploader:
    """Empties an outbox into a bucket.

    Args:
        outbox: What is to be sent.
        bucket: Where to.
        clock: For deadlines.
        jitter: Uniform in [0, 1).
    """

    def __init__(
        self,
        outbox: Outbox,
        bucket: Bucket,
        *,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._bucket = bucket
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._sending = threading.Lock()
        self._bell = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self.problem = ""
        self.windows_sent = 0
        self.samples_sent = 0
        self.bytes_sent = 0

    def start(self) -> None:
        """Start sending on a thread."""
        self._thread = threading.Thread(target=self._work, name="andon-uploader", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """Say that a window was sealed."""
        self._bell.set()

    def stop(self, *, timeout: float = 35.0) -> None:
        """End the thread after the request that is under way."""
        self._stop.set()
        self._bell.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def send_next(self) -> bool:
        """Send one window whole; False when none waits.

        Raises:
            AndonError: The bucket or the spool failed; what was acknowledged is remembered, nothing is removed.
        """
        window = self._outbox.next_window()
        if window is None:
            return False
        device, epoch = self._outbox.device, self._outbox.epoch
        while True:
            shard = self._outbox.next_shard(window)
            if shard is not None:
                self._bucket.put(
                    shard_key(device, epoch, window, shard.n), shard.data, content_type="application/x-tar"
                )
                self.bytes_sent += len(shard.data)
                self._outbox.acknowledge(shard)
                continue
            record = self._outbox.record(window)
            if record is not None:
                break
        self._bucket.put(record_key(device, epoch, window), record, content_type="application/json")
        self.bytes_sent += len(record)
        self.samples_sent += self._outbox.close(window)
        self.windows_sent += 1
        return True

    def flush(self, *, seconds: float) -> bool:
        """Send all that waits, trying again until `seconds` have passed; True when nothing waits any more.

        A request that is under way when the time is over runs into its own time-out first.
        """
        deadline = self._clock.monotonic() + seconds
        while (left := deadline - self._clock.monotonic()) > 0:
            try:
                if self._attempt(timeout=left) is False:
                    return True
            except AndonError:
                pause = min(backoff_seconds(self._failures, self._jitter), 2.0)
                if pause >= deadline - self._clock.monotonic():
                    return False
                threading.Event().wait(pause)
        return self._outbox.next_window() is None

    def _attempt(self, timeout: float = -1) -> bool | None:
        """Send one window; None when another thread is sending for longer than `timeout`."""
        if not self._sending.acquire(timeout=timeout):
            return None
        try:
            sent = self.send_next()
        except AndonError as error:
            self._failures += 1
            hint = "the credentials need attention: " if isinstance(error, Refused) else ""
            self.problem = f"upload: {hint}{error}"
            log.warning("%s", self.problem)
            raise
        finally:
            self._sending.release()
        self._failures, self.problem = 0, ""
        return sent

    def _work(self) -> None:
        while not self._stop.is_set():
            self._bell.clear()
            try:
                while not self._stop.is_set() and self._attempt():
                    pass
                self._bell.wait(_POLL_SECONDS)
            except AndonError:
                self._stop.wait(backoff_seconds(self._failures, self._jitter))
            except Exception as error:  # the worker's boundary: record, back off, go on
                self._failures += 1
                self.problem = f"upload: {error!r}"
                log.exception("upload failed")
                self._stop.wait(backoff_seconds(self._failures, self._jitter))
