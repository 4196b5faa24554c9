"""Watching an engine in service: counts of good and failed answers, and what follows from them. No I/O.

On probation one failure too many, or a median latency over the limit, ends it; enough good answers confirm. In steady
service only failures in a row count: a single one may be a broken frame.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from statistics import median

from edge_client.updates.rules import Limits, Phase

_LATENCIES = 500  # the most recent ones judge


class Judgement(Enum):
    """What the counts say."""

    GO_ON = "go on"  # not enough yet, or nothing to decide
    HEALTHY = "healthy"  # this start has served enough; told once
    CONFIRM = "confirm"  # probation passed
    FALL_BACK = "fall back"  # the engine is at fault


class Watch:
    """Counts since an engine came into service.

    Args:
        engine_sha256: Whose answers are counted.
        phase: STEADY or PROBATION.
        limits: What is enough.
    """

    def __init__(self, engine_sha256: str, phase: Phase, limits: Limits) -> None:
        self.engine_sha256 = engine_sha256
        self.phase = phase
        self.reason = ""
        self._limits = limits
        self._good = 0
        self._failed = 0
        self._failed_in_a_row = 0
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._told_healthy = False
        self._ended = False

    def add(self, ok: bool, latency_ms: float) -> Judgement:
        """Count one answer and judge. After CONFIRM or FALL_BACK it only says GO_ON."""
        if self._ended:
            return Judgement.GO_ON
        if ok:
            self._good += 1
            self._failed_in_a_row = 0
            self._latencies.append(latency_ms)
        else:
            self._failed += 1
            self._failed_in_a_row += 1
        return self._on_probation() if self.phase is Phase.PROBATION else self._in_service()

    def _on_probation(self) -> Judgement:
        limits = self._limits
        if self._failed > limits.probation_failures:
            return self._end(
                Judgement.FALL_BACK,
                f"{self._failed} failed and {self._good} good answers on probation: allowed are "
                f"{limits.probation_failures}",
            )
        if len(self._latencies) >= limits.latency_frames and (typical := median(self._latencies)) > limits.latency_ms:
            return self._end(
                Judgement.FALL_BACK,
                f"median latency {typical:.0f} ms on probation: allowed are {limits.latency_ms:g} ms",
            )
        if self._good >= limits.probation_frames:
            return self._end(Judgement.CONFIRM, "")
        return Judgement.GO_ON

    def _in_service(self) -> Judgement:
        limits = self._limits
        if self._failed_in_a_row >= limits.service_failures:
            return self._end(Judgement.FALL_BACK, f"{self._failed_in_a_row} failed answers in a row in service")
        if self._good >= limits.healthy_frames and not self._told_healthy:
            self._told_healthy = True
            return Judgement.HEALTHY
        return Judgement.GO_ON

    def _end(self, judgement: Judgement, reason: str) -> Judgement:
        self._ended = True
        self.reason = reason
        return judgement
