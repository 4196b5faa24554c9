"""Views: what the graph makes of a frame and of the same frame turned by half."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edge_client.contract.onnx_check import ALLOWED_OPERATORS
from training.graph_part import GraphPart
from training.views import averaging_part, turning_part

NETWORK = (4, 2, 3)  # h, w and C of its patches


def run(part: GraphPart, given: dict[str, NDArray], wanted: list[str], by: str) -> list[NDArray]:
    graph = onnx.GraphProto(name="part")
    part.behind(graph)
    graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in given)
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in wanted)
    assert {node.op_type for node in graph.node} <= ALLOWED_OPERATORS
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if by == "reference":
        return list(ReferenceEvaluator(model).run(None, given))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(wanted, given))


@pytest.mark.parametrize("by", ["runtime", "reference"])
def test_all_frames_as_they_are_come_first_and_then_turned(by: str) -> None:
    frames = np.random.default_rng(0).normal(size=(3, 3, 6, 4)).astype(np.float32)
    (both,) = run(turning_part(6, 4, source="one", target="both"), {"one": frames}, ["both"], by)
    np.testing.assert_array_equal(both, np.concatenate([frames, np.rot90(frames, 2, axes=(2, 3))]))


@pytest.mark.parametrize("by", ["runtime", "reference"])
def test_a_place_is_what_both_views_say_of_it(by: str) -> None:
    random = np.random.default_rng(0)
    features, upright = random.normal(size=(6, 5)).astype(np.float32), random.normal(size=(3, *NETWORK))
    other = random.normal(size=(3, *NETWORK))
    turned = np.rot90(other, 2, axes=(1, 2))  # of the same places, seen in the frame turned by half
    part = averaging_part(feature_width=5, patch_shape=NETWORK, features="f", patches="p")
    answers = {"f": features, "p": np.concatenate([upright, turned]).astype(np.float32)}
    mean, patches = run(part, answers, ["features", "patches"], by)
    np.testing.assert_allclose(mean, (features[:3] + features[3:]) / 2, atol=1e-6)
    np.testing.assert_allclose(patches, (upright + other) / 2, atol=1e-6)
