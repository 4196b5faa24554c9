"""An engine in service, a challenger that sees more defects, and frames on which they differ."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from edge_client.engine import Engine
from edge_client.prediction import Prediction, predictions_from
from edge_client.shadow.process import Answer
from tests.tiny_engine import tiny_engine

CHAMPION = Engine.from_bytes(tiny_engine(engine_id="e1"))
CHALLENGER = Engine.from_bytes(tiny_engine(engine_id="e2", bias=4.0))  # sees more defects
GREYS = [np.full((16, 16, 3), level, np.uint8) for level in range(0, 256, 5)]


def answer(engine: Engine, frame: np.ndarray) -> Prediction:
    (prediction,) = predictions_from(engine.run(frame), engine, sample_ids=["0" * 32], latency_ms=1.0)
    return prediction


def as_answer(prediction: Prediction, cpu_seconds: float = 0.001) -> Answer:
    return Answer(
        verdict=prediction.verdict,
        label=prediction.label,
        defect_probability=prediction.defect_probability,
        cpu_seconds=cpu_seconds,
    )


class Here:
    """A challenger in this process, with the time that it says it takes."""

    def __init__(self, engine: Engine, *, frame_seconds: float = 0.0, sleeps: float = 0.0) -> None:
        self._engine, self._frame_seconds, self._sleeps = engine, frame_seconds, sleeps
        self.answered = 0

    def answer(self, frame: np.ndarray, stopped: Callable[[], bool] = lambda: False) -> Answer:
        time.sleep(self._sleeps)
        self.answered += 1
        return as_answer(answer(self._engine, frame), self._frame_seconds)

    def hold(self) -> None: ...

    def let_go(self) -> None: ...

    def keep_off(self, core: int) -> None: ...

    def stop(self) -> None: ...
