"""The float twin of an int8 engine (rules of training/float_variant.py), on a real trunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from edge_client.contract.onnx_check import check_onnx
from edge_client.contract.selftest import SelfTest
from tests.integration.training.conftest import picture
from training.fit import Challenger, FitRequest, fit
from training.float_variant import Twin, float_variant
from training.predict import run_engine
from training.quantize import quantize
from training.trunk import Trunk


@pytest.fixture(scope="module")
def small(trunk: Trunk, make_picture: Callable[..., NDArray[np.uint8]]) -> Trunk:
    return quantize(trunk, [make_picture(i, i % 2) for i in range(16)])


@pytest.fixture(scope="module")
def frames(make_picture: Callable[..., NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    return [make_picture(1_000 + i, i % 2) for i in range(24)]


@pytest.fixture(scope="module")
def int8(small: Trunk, request_of_two_classes: FitRequest) -> Challenger:
    request = request_of_two_classes
    embedded = small.run([picture(i, kind) for i, kind in enumerate(request.examples.labels.tolist())])
    examples = replace(request.examples, features=embedded.features)
    return fit(replace(request, trunk=small, examples=examples, patches=embedded.patches))


@pytest.fixture(scope="module")
def twin(
    int8: Challenger, small: Trunk, trunk: Trunk, frames: list[NDArray[np.uint8]], request_of_two_classes: FitRequest
) -> Twin:
    return float_variant(int8, small, trunk, frames, request_of_two_classes.selftest_images)


def test_the_twin_is_an_engine_that_devices_accept(twin: Twin, int8: Challenger, trunk: Trunk) -> None:
    found = check_onnx(twin.engine).metadata
    assert found == twin.metadata
    assert (found.engine_id, found.variant) == (f"{int8.metadata.engine_id}-fp32", "fp32")
    assert found.embedding_id == trunk.id
    assert found.thresholds == int8.metadata.thresholds
    test = SelfTest.unpack(twin.selftest)
    answers = run_engine(twin.engine, list(test.frames))
    np.testing.assert_allclose(answers.probabilities, test.probabilities, atol=1e-5)


def test_no_node_of_the_int8_trunk_is_left(twin: Twin) -> None:
    kinds = {node.op_type for node in onnx.load_model_from_string(twin.engine).graph.node}
    assert not {"QuantizeLinear", "DequantizeLinear"} & kinds


def test_it_answers_as_the_int8_engine_does_but_for_the_rounding(
    twin: Twin, int8: Challenger, frames: list[NDArray[np.uint8]]
) -> None:
    one, other = run_engine(int8.engine, frames), run_engine(twin.engine, frames)
    assert np.abs(one.probabilities - other.probabilities).mean() < 0.05
    np.testing.assert_allclose(other.anomaly.mean(), one.anomaly.mean(), rtol=0.1)


def test_its_embedding_is_the_float_trunks_own(twin: Twin, trunk: Trunk, frames: list[NDArray[np.uint8]]) -> None:
    features = trunk.run(frames).features[:, : trunk.embedding_width]
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    session = onnxruntime.InferenceSession(twin.engine, providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run(["embedding"], {"image": frame[None]})[0] for frame in frames])
    np.testing.assert_allclose(found, expected, atol=1e-4)
