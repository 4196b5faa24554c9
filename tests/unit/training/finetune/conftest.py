"""Small problems on one thread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from training.finetune.module import HeadStart, TuningSet
from training.finetune.plan import FineTunePlan
from training.head import LinearHead

Make = Callable[..., tuple[TuningSet, HeadStart]]


def tuning(n: int = 48, *, stopping: int = 0, classes: int = 2, size: int = 32) -> tuple[TuningSet, HeadStart]:
    """Grey frames, half of them with a bright square, and a head that knows nothing."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % classes
    frames = random.normal(110, 12, (n, 3, size, size))
    for i in np.flatnonzero(labels):
        y, x = random.integers(2, size - 10, 2)
        frames[i, :, y : y + 8, x : x + 8] += 80
    data = TuningSet(
        frames=np.clip(frames, 0, 255).astype(np.uint8),
        labels=labels.astype(np.int64),
        weight=np.ones(n, dtype=np.float32),
        stopping=np.arange(n) >= n - stopping,
    )
    start = HeadStart(
        mean=np.zeros(16, dtype=np.float32),
        scale=np.ones(16, dtype=np.float32),
        head=LinearHead(weights=np.zeros((16, classes)), bias=np.zeros(classes)),
        offset=np.zeros(classes),
    )
    return data, start


@pytest.fixture(scope="session")
def make_tuning() -> Make:
    return tuning


@pytest.fixture
def plan() -> FineTunePlan:
    return FineTunePlan(stages=3, epochs=3, rate=2e-3, head_rate=1e-2, batch=16, average=0.9)
