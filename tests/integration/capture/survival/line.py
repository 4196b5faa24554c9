"""A line: a process that embeds the client and inspects the same frames over and over, as told on standard input.

    python -m tests.integration.capture.survival.line FOLDER

One JSON order a line in, one JSON answer a line out:

    {"do": "open", "config": PATH}         close the client, if any, and open one
    {"do": "inspect", "frames": N}         inspect N frames; answers latencies (ms), a digest of all results, errors
    {"do": "clock", "year": Y}             put the device's clock to a year; 0 is right
    {"do": "disk", "errno": E}             let every change below the state folder fail; 0 is well again (crash/shim.c)
    {"do": "status"}                       what `Client.status` says
    {"do": "end"}                          close and leave
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from edge_client import Client
from edge_client.clock import SystemClock

_REST_SECONDS = 0.002  # between frames, as a line has; the client's own threads work meanwhile


class MovedClock(SystemClock):
    """A clock that can be put to another year while it runs."""

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def put_to(self, year: int) -> None:
        """Put it to the first of June of a year; 0 is right."""
        self.offset = datetime(year, 6, 1, tzinfo=UTC) - datetime.now(UTC) if year else timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.offset


class Line:
    """The client and what is done with it."""

    def __init__(self) -> None:
        random = np.random.default_rng(7)
        self.frames = random.integers(0, 255, (32, 96, 96, 3), dtype=np.uint8)
        self.clock = MovedClock()
        self.client: Client | None = None

    def do(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["do"]:
            case "open":
                self.close()
                self.client = Client.from_config(order["config"], clock=self.clock)
                return {}
            case "inspect":
                return self.inspect(order["frames"])
            case "clock":
                self.clock.put_to(order["year"])
                return {}
            case "disk":
                shim = ctypes.CDLL(None)
                shim.shim_fail(1 if order["errno"] else 0, order["errno"], 1)
                return {}
            case "status":
                assert self.client is not None
                begun = time.perf_counter()
                return {"status": self.client.status(), "ms": (time.perf_counter() - begun) * 1e3}
        raise AssertionError(f"unknown order {order}")

    def inspect(self, count: int) -> dict[str, Any]:
        assert self.client is not None
        latencies, errors, digest = [], [], hashlib.sha256()
        for i in range(count):
            begun = time.perf_counter()
            try:
                answer = self.client.predict(self.frames[i % len(self.frames)], part_id=f"A{i}")
            except Exception as error:
                errors.append(repr(error))
                continue
            latencies.append((time.perf_counter() - begun) * 1e3)
            digest.update(json.dumps([answer.label, answer.verdict, answer.anomaly, answer.probabilities]).encode())
            digest.update(answer.embedding.tobytes())
            time.sleep(_REST_SECONDS)
        return {"latencies": latencies, "digest": digest.hexdigest(), "errors": errors}

    def close(self) -> None:
        if self.client is not None:
            self.client.close(flush_seconds=0)


def main() -> None:
    line = Line()
    for text in sys.stdin:
        order = json.loads(text)
        if order["do"] == "end":
            break
        print(json.dumps(line.do(order)), flush=True)
    line.close()
    print("{}", flush=True)


if __name__ == "__main__":
    main()
