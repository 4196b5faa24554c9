"""Run an engine over images, as the cloud does for evidence: one frame at a time, like the device."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from training.frames import Frame, decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """An engine's answers.

    Attributes:
        probabilities: float32 [n, K].
        anomaly: float32 [n].
    """

    probabilities: NDArray[np.float32]
    anomaly: NDArray[np.float32]


def run_engine(engine: bytes, images: Iterable[Frame], *, threads: int | None = None) -> Predictions:
    """Run an engine.

    Args:
        engine: The ONNX file.
        images: Encoded images or uint8 RGB arrays of any sizes.
        threads: Frames at a time; default the cores this process may use.

    Raises:
        BadImage: An image cannot be decoded.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(engine, options, providers=["CPUExecutionProvider"])
    classes = next(output for output in session.get_outputs() if output.name == "probabilities").shape[1]

    def answer(image: Frame) -> tuple[NDArray[np.float32], np.float32]:
        probabilities, anomaly = session.run(["probabilities", "anomaly"], {"image": decode(image)[None]})
        return probabilities[0], anomaly[0]

    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        answers = list(pool.map(answer, images))
    return Predictions(
        probabilities=np.array([p for p, _ in answers], dtype=np.float32).reshape(len(answers), classes),
        anomaly=np.array([a for _, a in answers], dtype=np.float32),
    )
