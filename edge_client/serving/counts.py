"""What the server counts of itself, and how Prometheus reads it."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds

_GAUGES = {
    "in_flight": "Requests under way.",
    "connections": "HTTP connections.",
    "running": "Requests that hold a slot.",
    "waiting": "Requests that wait for one.",
}


class ServerCounts:
    """Thread-safe counters of one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: Counter[tuple[str, str, int]] = Counter()  # transport, model, status
        self._refused: Counter[str] = Counter()
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self.in_flight = 0
        self.connections = 0

    def begin(self) -> None:
        """A request has arrived."""
        with self._lock:
            self.in_flight += 1

    def end(self, transport: str, model: str, status: int, seconds: float, reason: str = "") -> None:
        """A request was answered.

        Args:
            transport: ``http`` or ``grpc``.
            model: The model it was about; empty for none.
            status: HTTP's, or gRPC's.
            seconds: From its arrival to its answer, before that is sent.
            reason: Why it was refused, if it was.
        """
        with self._lock:
            self.in_flight -= 1
            self._answers[transport, model, status] += 1
            if reason:
                self._refused[reason] += 1
            if model:
                self._buckets[bisect_left(BOUNDS, seconds)] += 1
                self._seconds += seconds

    def refuse(self, reason: str) -> None:
        """Something was refused before it was a request."""
        with self._lock:
            self._refused[reason] += 1

    def connected(self, most: int) -> bool:
        """Count a connection in, unless there are `most`."""
        with self._lock:
            if self.connections >= most:
                self._refused["connections"] += 1
                return False
            self.connections += 1
            return True

    def disconnected(self) -> None:
        """Count a connection out."""
        with self._lock:
            self.connections -= 1

    def answered(self, status: int) -> int:
        """How many requests were answered with a status."""
        with self._lock:
            return sum(n for (_, _, code), n in self._answers.items() if code == status)

    def prometheus(self, *, running: int, waiting: int) -> str:
        """Return the counters as Prometheus text.

        Args:
            running: Requests that hold a slot now.
            waiting: Requests that wait for one now.
        """
        with self._lock:
            answers, refused = sorted(self._answers.items()), sorted(self._refused.items())
            buckets, seconds = list(self._buckets), self._seconds
            gauges = {"in_flight": self.in_flight, "connections": self.connections}
        gauges |= {"running": running, "waiting": waiting}
        lines = [
            "# HELP andon_server_requests_total Requests by how they were answered.",
            "# TYPE andon_server_requests_total counter",
        ]
        lines += [
            f'andon_server_requests_total{{transport="{transport}",model="{model}",code="{code}"}} {n}'
            for (transport, model, code), n in answers
        ]
        lines += [
            "# HELP andon_server_refused_total Requests and connections turned away, by reason.",
            "# TYPE andon_server_refused_total counter",
        ]
        lines += [f'andon_server_refused_total{{reason="{reason}"}} {n}' for reason, n in refused]
        for name, value in gauges.items():
            lines += [
                f"# HELP andon_server_{name} {_GAUGES[name]}",
                f"# TYPE andon_server_{name} gauge",
                f"andon_server_{name} {value}",
            ]
        lines += [
            "# HELP andon_server_request_seconds From a request's arrival to its answer.",
            "# TYPE andon_server_request_seconds histogram",
        ]
        total = 0
        for bound, n in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
            total += n
            lines.append(f'andon_server_request_seconds_bucket{{le="{bound}"}} {total}')
        lines += [f"andon_server_request_seconds_sum {seconds:.6f}", f"andon_server_request_seconds_count {total}"]
        return "\n".join(lines) + "\n"
