"""Sends windows to the bucket: shards first, the signed record last, oldest window first.

1. A window counts only when its record is up; a crash or an outage in between repeats puts of the same objects.
2. No error removes anything. `Unavailable` and everything unexpected: try again with exponential backoff and jitter.
   `Refused` (401, 403): the same, and `problem` says that the credentials need attention.
3. Only one thread sends; `flush` sends on the caller's thread while it is between two attempts.
4. Before each object the `Uplink` is asked: schedule, metered link and the day's bytes hold back what is next, in the
   middle of a window too, and a flush as well. Being held back is no failure.
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge_client.clock import Clock, SystemClock
from edge_client.contract.bucket import Bucket, S3Bucket
from edge_client.contract.errors import AndonError, Refused, Untrusted
from edge_client.contract.names import record_key, shard_key
from edge_client.outbox import Outbox
from edge_client.uplink.backoff import backoff_seconds
from edge_client.uplink.permission import NotNow
from edge_client.uplink.uplink import Uplink

log = logging.getLogger("edge_client.uploader")

_POLL_SECONDS = 5.0  # looks for a window even if nobody rang


@dataclass(frozen=True, slots=True, kw_only=True)
class NextUpload:
    """When something is sent next: `in_seconds` (None: not by itself) and why not now; "" when it is now."""

    in_seconds: float | None
    reason: str


class Uploader:
    """Empties an outbox into a bucket.

    Args:
        outbox: What is to be sent.
        bucket: Where to.
        uplink: Says when and how fast; None sends at once, as onto a stick.
        clock: For deadlines.
        jitter: Uniform in [0, 1).
    """

    def __init__(
        self,
        outbox: Outbox,
        bucket: Bucket,
        *,
        uplink: Uplink | None = None,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._bucket = bucket
        self._take: Callable[[int], None] | None = None if uplink is None else uplink.take
        if uplink is not None and isinstance(bucket, S3Bucket):  # told before every piece, not before every object
            self._bucket, self._take = bucket.throttled(uplink.take), None
        self._uplink = uplink
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._sending = threading.Lock()
        self._bell = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._again_at = 0.0
        self._next_bytes = 1  # of the object that was held back, once one was
        self.problem = ""
        self.needs_attention = False  # the problem does not pass by itself, as a lost network does
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
            NotNow: The uplink holds it back.
            AndonError: The bucket or the spool failed; what was acknowledged is remembered, nothing is removed.
        """
        window = self._outbox.next_window()
        if window is None:
            return False
        device, epoch = self._outbox.device, self._outbox.epoch
        while True:
            shard = self._outbox.next_shard(window)
            if shard is not None:
                self._put(shard_key(device, epoch, window, shard.n), shard.data, "application/x-tar")
                self._outbox.acknowledge(shard)
                continue
            record = self._outbox.record(window)
            if record is not None:
                break
        self._put(record_key(device, epoch, window), record, "application/json")
        self.samples_sent += self._outbox.close(window)
        self.windows_sent += 1
        return True

    def next_upload(self) -> NextUpload:
        """Tell when something is sent next, and why not now."""
        if self._outbox.next_window() is None:
            return NextUpload(in_seconds=None, reason="nothing waits")
        wait = self._again_at - self._clock.monotonic()
        if self._failures and wait > 0:
            return NextUpload(in_seconds=wait, reason=f"{self._failures} failures in a row: {self.problem}")
        if self._uplink is not None and not (held := self._uplink.permission(self._next_bytes)).granted:
            return NextUpload(in_seconds=held.wait_seconds, reason=held.reason)
        return NextUpload(in_seconds=0.0, reason="")

    def flush(self, *, seconds: float) -> bool:
        """Send all that waits, trying again until `seconds` have passed; True when nothing waits any more.

        False at once when the uplink holds it back. A request that is under way when the time is over runs into its
        own time-out first.
        """
        deadline = self._clock.monotonic() + seconds
        while (left := deadline - self._clock.monotonic()) > 0:
            try:
                if self._attempt(timeout=left) is False:
                    return True
            except NotNow:
                return False
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
        except NotNow:
            self._well()
            raise
        except AndonError as error:
            self._failures += 1
            hint = "the credentials need attention: " if isinstance(error, Refused) else ""
            self.needs_attention = isinstance(error, Refused | Untrusted)
            self.problem = f"upload: {hint}{error}"
            log.warning("%s", self.problem)
            raise
        finally:
            self._sending.release()
        self._well()
        return sent

    def _well(self) -> None:
        self._failures, self.problem, self.needs_attention = 0, "", False

    def _put(self, key: str, data: bytes, content_type: str) -> None:
        if self._uplink is not None and not (held := self._uplink.permission(len(data))).granted:
            self._next_bytes = len(data)
            raise NotNow(held)
        if self._take is not None:
            self._take(len(data))
        self._bucket.put(key, data, content_type=content_type)
        self.bytes_sent += len(data)
        self._next_bytes = 1

    def _work(self) -> None:
        while not self._stop.is_set():
            self._bell.clear()
            try:
                while not self._stop.is_set() and self._attempt():
                    pass
                self._bell.wait(_POLL_SECONDS)
            except NotNow:
                self._stop.wait(_POLL_SECONDS)  # asked anew: a clock, a day's count or a switch may have changed
            except AndonError:
                self._back_off()
            except Exception as error:  # the worker's boundary: record, back off, go on
                self._failures, self.needs_attention = self._failures + 1, False
                self.problem = f"upload: {error!r}"
                log.exception("upload failed")
                self._back_off()

    def _back_off(self) -> None:
        pause = backoff_seconds(self._failures, self._jitter)
        self._again_at = self._clock.monotonic() + pause
        self._stop.wait(pause)
