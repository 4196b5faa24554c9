"""What the client counts since its start: requests, answers, latencies."""

import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_client.prediction import Prediction

_LATENCIES = 2000

#: Upper bounds, in seconds, of the latency histogram: 1-2-5 steps from half a millisecond to ten seconds. A last bin
#: takes what lies above.
LATENCY_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_BOUNDS_MS = tuple(bound * 1e3 for bound in LATENCY_BOUNDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A copy of the counters at one moment.

    Attributes:
        requests: Calls of `predict`.
        answered: Calls that got an answer.
        refused: Calls with a frame that can't be used.
        lost: Calls that no engine answered. requests = answered + refused + lost + those under way.
        frames: Inspected frames, without those of `capture=False`.
        skipped: Frames that were answered as the one before them, since nothing had changed; with those of
            `capture=False`. The others of them are among `frames`.
        engines: Engine id → calls answered.
        latency_ms_p50, latency_ms_p99: Of the last answers of the engine that answered last.
        latency_counts: Frames by the engine's time for each (a batch's time divided by its frames), one count for each
            of `LATENCY_BOUNDS` and one for what lies above; with frames of `capture=False`, without skipped ones.
        latency_sum_seconds: Sum of those times.
    """

    requests: int
    answered: int
    refused: int
    lost: int
    capture_errors: int
    frames: int
    skipped: int
    engines: dict[str, int]
    classes: dict[str, int]
    verdicts: dict[str, int]
    anomaly_mean: float
    latency_ms_p50: float
    latency_ms_p99: float
    latency_counts: tuple[int, ...]
    latency_sum_seconds: float


@dataclass(slots=True)
class Counters:
    """Thread-safe counters."""

    requests: int = 0
    answered: int = 0
    refused: int = 0
    lost: int = 0
    capture_errors: int = 0
    frames: int = 0
    skipped: int = 0
    _engine_id: str = ""
    _anomaly_sum: float = 0.0
    _engines: Counter[str] = field(default_factory=Counter)
    _classes: Counter[str] = field(default_factory=Counter)
    _verdicts: Counter[str] = field(default_factory=Counter)
    _latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))
    _latency_counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS_MS) + 1))
    _latency_sum_ms: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self) -> None:
        """A call began."""
        with self._lock:
            self.requests += 1

    def refuse(self) -> None:
        """A call had an unusable frame."""
        with self._lock:
            self.refused += 1

    def lose(self) -> None:
        """A call got no answer from any engine."""
        with self._lock:
            self.lost += 1

    def capture_failed(self) -> None:
        """Capture raised on a frame; the application never saw it."""
        with self._lock:
            self.capture_errors += 1

    def answer(self, predictions: Sequence[Prediction], *, inspected: bool, skipped: bool = False) -> None:
        """A call was answered; `skipped` if no engine ran for it because the frame had not changed."""
        n = len(predictions)
        with self._lock:
            self.answered += 1
            engine_id = predictions[0].engine_id
            self._engines[engine_id] += 1
            if engine_id != self._engine_id:  # a latency is told of the engine in service
                self._engine_id = engine_id
                self._latencies.clear()
            if skipped:
                self.skipped += n
            else:
                total_ms = predictions[0].latency_ms
                latency_ms = total_ms / n
                self._latencies.append(latency_ms)
                self._latency_counts[bisect_left(_BOUNDS_MS, latency_ms)] += n
                self._latency_sum_ms += total_ms
            if not inspected:
                return
            self.frames += n
            for prediction in predictions:
                self._classes[prediction.label] += 1
                self._verdicts[prediction.verdict] += 1
                self._anomaly_sum += prediction.anomaly

    def copy(self) -> Counts:
        """Return the counters as they are now."""
        with self._lock:
            latencies = sorted(self._latencies) or [0.0]
            return Counts(
                requests=self.requests,
                answered=self.answered,
                refused=self.refused,
                lost=self.lost,
                capture_errors=self.capture_errors,
                frames=self.frames,
                skipped=self.skipped,
                engines=dict(self._engines),
                classes=dict(self._classes),
                verdicts=dict(self._verdicts),
                anomaly_mean=self._anomaly_sum / self.frames if self.frames else 0.0,
                latency_ms_p50=latencies[len(latencies) // 2],
                latency_ms_p99=latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))],
                latency_counts=tuple(self._latency_counts),
                latency_sum_seconds=self._latency_sum_ms / 1e3,
            )
