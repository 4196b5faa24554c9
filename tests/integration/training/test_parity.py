"""The shipped variant against float on a real trunk; numbers refer to training/parity.py."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from training.fit import Challenger
from training.parity import parity_of, tail_of
from training.predict import run_engine
from training.quantize import quantize
from training.trunk import Embedded, Trunk

Pictures = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="module")
def frames(make_picture: Pictures) -> list[NDArray[np.uint8]]:
    return [make_picture(1_000 + i, i % 2) for i in range(24)]


class MovedTrunk(Trunk):
    """A trunk whose features are wrong by as much as is said: always the same, or another for each frame."""

    same: float = 0.0
    other: float = 0.0

    def run(self, images, *, threads=None) -> Embedded:  # type: ignore[no-untyped-def]
        true = super().run(images, threads=threads)
        noise = np.random.default_rng(0).normal(size=true.features.shape).astype(np.float32)
        spread = true.features.std(axis=0)
        moved = true.features + self.same * spread + self.other * spread * noise
        return Embedded(features=moved.astype(np.float32), patches=true.patches)


def moved(trunk: Trunk, *, same: float = 0.0, other: float = 0.0) -> Trunk:
    fields = {"onnx": trunk.onnx, **trunk.facts}
    result = MovedTrunk(**fields)  # type: ignore[arg-type]
    object.__setattr__(result, "same", same)
    object.__setattr__(result, "other", other)
    return result


def test_the_tail_of_an_engine_answers_as_the_engine_does(
    challenger: Challenger, trunk: Trunk, frames: list[NDArray[np.uint8]]
) -> None:
    tail = tail_of(challenger.engine, trunk)
    assert len(onnx.load_model_from_string(tail).graph.node) < len(
        onnx.load_model_from_string(challenger.engine).graph.node
    )
    session = onnxruntime.InferenceSession(tail, providers=["CPUExecutionProvider"])
    embedded = trunk.run(frames)
    probabilities, anomaly = session.run(
        ["probabilities", "anomaly"],
        {"features": embedded.features, "patches": embedded.patches.astype(np.float32)},
    )
    whole = run_engine(challenger.engine, frames)
    np.testing.assert_allclose(probabilities, whole.probabilities, atol=2e-3)  # patches were kept in half precision
    np.testing.assert_allclose(anomaly, whole.anomaly, rtol=5e-3)


def test_a_trunk_decides_as_itself(challenger: Challenger, trunk: Trunk, frames: list[NDArray[np.uint8]]) -> None:
    found = parity_of(challenger.engine, challenger.metadata, trunk, trunk, frames)
    assert (found.flips, found.n) == (0, len(frames))


def test_an_error_that_is_always_the_same_costs_nothing_and_one_of_each_frame_is_counted(
    challenger: Challenger, trunk: Trunk, frames: list[NDArray[np.uint8]]
) -> None:
    same = parity_of(challenger.engine, challenger.metadata, trunk, moved(trunk, same=1_000.0), frames)
    other = parity_of(challenger.engine, challenger.metadata, trunk, moved(trunk, other=1_000.0), frames)
    assert same.flips == 0
    assert other.flips >= 4


def test_int8_of_the_same_trunk_is_measured(
    challenger: Challenger, trunk: Trunk, frames: list[NDArray[np.uint8]], make_picture: Pictures
) -> None:
    small = quantize(trunk, [make_picture(i, i % 2) for i in range(16)])
    found = parity_of(challenger.engine, replace(challenger.metadata, variant="int8"), small, trunk, frames)
    assert found.n == len(frames)
    assert found.flips <= len(frames) // 4  # two random convolutions are no trained network, yet mostly agree


def test_without_frames_nothing_is_compared(challenger: Challenger, trunk: Trunk) -> None:
    assert parity_of(challenger.engine, challenger.metadata, trunk, trunk, []).n == 0
