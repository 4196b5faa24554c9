"""``state/run.json``: what `run` and `serve` tell of themselves every second, for `status`, supervisors and people."""

import json
import logging
import os
import time
from datetime import UTC, datetime
from typing import Any

from edge_client.client import Client
from edge_client.software.standby import tell_alive

log = logging.getLogger("edge_client.run")

_SECONDS = 1.0


class RunFile:
    """Writes the file.

    Args:
        client: Whose status is told.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._path = client.config.device.state / "run.json"
        self._told_at = 0.0
        self._last: dict[str, Any] = {}
        self.waiting = 0
        self.unreadable = 0

    def tell_each_second(self) -> None:
        """Write it if the last time is a second ago, and tell systemd's watchdog that the line is alive."""
        if time.monotonic() - self._told_at >= _SECONDS:
            self.tell()
            counts = self._client.counts()
            tell_alive(counts.answered, counts.lost)

    def tell(self, *, done: bool = False) -> None:
        """Replace the file."""
        self._told_at = time.monotonic()
        beside = self._path.with_name(".run.json.new")
        try:
            beside.write_text(json.dumps(self.summary(done=done)))
            os.replace(beside, self._path)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)

    def summary(self, *, done: bool) -> dict[str, Any]:
        """Return what the file tells."""
        if not (done and self._last.get("done")):
            self._last = self._describe(done=done)
        return self._last

    def _describe(self, *, done: bool) -> dict[str, Any]:
        status = self._client.status()
        requests = status["requests"]
        engine = status["engine"]
        return {
            "pid": os.getpid(),
            "updated_at": datetime.now(UTC).isoformat(),
            "done": done,
            **{k: requests[k] for k in ("requests", "answered", "refused", "lost", "frames", "capture_errors")},
            "skipped": requests["skipped"],
            "engines": requests["engines"],
            "verdicts": requests["verdicts"],
            "latency_ms_p50": requests["latency_ms_p50"],
            "latency_ms_p99": requests["latency_ms_p99"],
            "waiting": max(0, self.waiting),
            "unreadable": self.unreadable,
            "engine_id": engine["engine_id"],
            "engine_sha256": engine["engine_sha256"],
            "slot": engine["place"],
            "swaps": engine["swaps"],
            "rollout": engine["rollout"],
            "health": status["health"],
            "problems": status["problems"],
            "advisory": status["advisory"],
            "settings": status["settings"],
            "capture": status["capture"],
            "process": status["process"],
            "source": status.get("source"),
        }
