"""Writes the signed heartbeat to ``fleet/<device>/status.json``: when something changed, and at intervals.

The sequence rises over restarts: the last number is kept on disk, and where that is lost the wall clock's seconds
take over.
"""

import json
import logging
import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_client.beat_schedule import BeatSchedule
from edge_client.clock import Clock, SystemClock
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.names import status_key

log = logging.getLogger("edge_client.heartbeat")

_LOOK_SECONDS = 0.5  # how soon a change is noticed


class HeartbeatWriter:
    """Sends heartbeats.

    Args:
        bucket: Where to.
        describe: Builds a heartbeat; its `sequence` is set here.
        key: Signs.
        path: File that remembers the sequence.
        interval_seconds: Most time between two heartbeats.
        clock: For intervals.
        jitter: Uniform in [0, 1).
    """

    def __init__(
        self,
        bucket: Bucket,
        describe: Callable[[], Heartbeat],
        key: Ed25519PrivateKey,
        path: Path,
        *,
        interval_seconds: float,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._bucket = bucket
        self._describe = describe
        self._key = key
        self._path = path
        self._interval = interval_seconds
        self._clock = clock or SystemClock()
        self._schedule = BeatSchedule(interval_seconds, jitter)
        self._sequence = _read_sequence(path)
        self._sent: object = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.problem = ""

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="andon-heartbeat", daemon=True)
        self._thread.start()

    def stop(self, *, timeout: float = 35.0) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def send(self, *, ended: bool = False) -> Heartbeat:
        """Send one now.

        Args:
            ended: It is the last one: the client ends in order.

        Raises:
            AndonError: The bucket did not take it.
        """
        told = self._describe()
        self._sequence = max(self._sequence + 1, int(self._clock.now().timestamp()))
        _write_sequence(self._path, self._sequence)
        heartbeat = replace(told, sequence=self._sequence, interval_seconds=self._interval, ended=ended).kept_small()
        self._bucket.put(status_key(told.device), heartbeat.sign(self._key), content_type="application/json")
        self._sent = _substance(told)
        return heartbeat

    def send_if_due(self) -> bool:
        """Send if `beat_schedule` says so. Returns whether one was sent."""
        at = self._clock.monotonic()
        if not self._schedule.is_due(at, lambda: _substance(self._describe()) != self._sent):
            return False
        try:
            self.send()
        except (AndonError, OSError) as error:
            self._schedule.failed(at)
            self.problem = f"heartbeat: {error}"
            log.info("%s", self.problem)
            return False
        self.problem = ""
        self._schedule.sent(at)
        return True

    def due_at(self) -> float | None:
        """When the next one is due whatever changes, in monotonic seconds; None for at once."""
        return self._schedule.next_at()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self.send_if_due()
            except Exception as error:  # the worker's boundary: record, go on
                self.problem = f"heartbeat: {error!r}"
                log.exception("heartbeat failed")
            self._stop.wait(min(_LOOK_SECONDS, self._interval))


def _substance(heartbeat: Heartbeat) -> object:
    """What makes a heartbeat worth sending before its time."""
    return (
        heartbeat.engine_sha256,
        heartbeat.slot,
        heartbeat.health,
        heartbeat.rollout,
        heartbeat.quarantined,
        heartbeat.settings_versions,
        heartbeat.campaigns,
        2 * heartbeat.spool_bytes > heartbeat.spool_limit > 0,  # windows come and go; a spool that fills is news
        heartbeat.account,
        heartbeat.signs_as,
    )


def _read_sequence(path: Path) -> int:
    try:
        return int(json.loads(path.read_text())["sequence"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _write_sequence(path: Path, sequence: int) -> None:
    """Replace the file; a lost number after a power cut is made up for by the clock."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(json.dumps({"sequence": sequence}))
    os.replace(beside, path)
