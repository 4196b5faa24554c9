"""The resize in the graph against torch's, by ONNX Runtime and by onnx's own reference implementation."""

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edge_client.contract.onnx_check import ALLOWED_OPERATORS
from training.resize import resize_part
from training.trunk import NETWORK_INPUT, OPSET, Trunk

OFFSET, SCALE = 127.0, 128.0
SIDES = st.one_of(st.integers(min_value=1, max_value=90), st.integers(min_value=91, max_value=700))
#: 32 and 64 go in chunks and blocks, 24 in blocks alone, 7 and 13 are one block of prime length, 1 is one pixel.
SIZES = st.sampled_from([1, 7, 13, 24, 32, 64, 96])


@cache
def graph(size: int) -> onnx.ModelProto:
    body = onnx.GraphProto(name="resize")
    resize_part(size, offset=OFFSET, scale=SCALE).before(body)
    body.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3]))
    body.output.append(helper.make_tensor_value_info(NETWORK_INPUT, TensorProto.FLOAT, ["N", 3, size, size]))
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


@cache
def session(size: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph(size).SerializeToString(), options, providers=["CPUExecutionProvider"])


def frames_of(count: int, height: int, width: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(height * 97 + width)
    return random.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def of_torch(frames: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    planes = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    resized = torch.nn.functional.interpolate(planes, size=(size, size), mode="bilinear", antialias=True)
    return np.asarray(((resized - OFFSET) / SCALE).numpy())


@given(count=st.integers(min_value=1, max_value=3), height=SIDES, width=SIDES, size=SIZES)
@example(count=1, height=1080, width=1920, size=224)
@example(count=1, height=300, width=300, size=224)
@example(count=2, height=225, width=223, size=224)
@example(count=1, height=5, width=4000, size=224)
@settings(max_examples=120, deadline=None)
def test_it_is_the_antialiased_bilinear_resize_of_torch(count: int, height: int, width: int, size: int) -> None:
    frames = frames_of(count, height, width)
    (got,) = session(size).run(None, {"image": frames})
    # A hundredth of a grey level: float32 positions and sums in another order.
    np.testing.assert_allclose(got, of_torch(frames, size), atol=0.01 / SCALE)


@given(height=SIDES, width=SIDES, size=SIZES, grey=st.integers(min_value=0, max_value=255))
@settings(max_examples=40, deadline=None)
def test_a_plain_frame_stays_as_it_is(height: int, width: int, size: int, grey: int) -> None:
    (got,) = session(size).run(None, {"image": np.full((1, height, width, 3), grey, dtype=np.uint8)})
    np.testing.assert_allclose(got, (grey - OFFSET) / SCALE, atol=0.01 / SCALE)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 37, 50), (1, 130, 61)])
def test_another_implementation_of_the_operators_gives_the_same(shape: tuple[int, int, int]) -> None:
    frames = frames_of(*shape)
    (got,) = ReferenceEvaluator(graph(32)).run(None, {"image": frames})
    np.testing.assert_allclose(got, of_torch(frames, 32), atol=0.01 / SCALE)


def test_only_accepted_operators_are_used() -> None:
    assert {node.op_type for node in graph(224).graph.node} <= ALLOWED_OPERATORS


def test_the_exported_graph_takes_any_number_and_size_of_frames(trunk: Trunk, backbone: torch.nn.Module) -> None:
    for shape in ((1, 1, 1), (1, 300, 300), (3, 17, 211), (2, 480, 33)):
        frames = frames_of(*shape)
        resized = of_torch(frames, 32) * SCALE + OFFSET
        with torch.no_grad():
            features, patches = backbone(torch.from_numpy((resized - backbone.offset) / backbone.scale))
        got_features, got_patches = trunk._session.run(["features", "patches"], {"image": frames})
        np.testing.assert_allclose(got_features, features.numpy(), atol=1e-4)
        np.testing.assert_allclose(got_patches, patches.numpy(), atol=1e-4)
