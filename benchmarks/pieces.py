"""Pieces of an engine file that can be run alone, and what the processor could do at best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.utils import Extractor

from training.trunk import NETWORK_INPUT, OPSET

#: Side of the square matrices that show the processor's peak: large enough that only the product counts.
_PEAK_SIDE = 1024


def session_of(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """Load a file as the edge client does: so many threads, none spinning while idle."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def runner(model: bytes, threads: int, inputs: dict[str, NDArray[Any]]) -> Callable[[], object]:
    """Return a function that runs a file once on these inputs."""
    session = session_of(model, threads)
    return lambda: session.run(None, inputs)


def preparation(engine: bytes, size: int) -> bytes:
    """The part of an engine from the uint8 frame to the normalised input of its network."""
    return _part(engine, "image", NETWORK_INPUT, TensorProto.UINT8, ["N", "H", "W", 3], ["N", 3, size, size])


def backbone(engine: bytes, size: int, width: int) -> bytes:
    """The network of an engine alone: float input to the pooled last features, as a classifier would have it."""
    model = onnx.load_model_from_string(engine)
    features = next(node for node in model.graph.node if "features" in node.output)
    return _part(engine, NETWORK_INPUT, features.input[0], TensorProto.FLOAT, ["N", 3, size, size], ["N", width])


def _part(engine: bytes, start: str, end: str, kind: int, given: list[str | int], wanted: list[str | int]) -> bytes:
    model = onnx.load_model_from_string(engine)
    del model.graph.value_info[:]
    known = {tensor.name for tensor in (*model.graph.input, *model.graph.output)}
    source = helper.make_tensor_value_info(start, kind, given)
    target = helper.make_tensor_value_info(end, TensorProto.FLOAT, wanted)
    model.graph.value_info.extend(tensor for tensor in (source, target) if tensor.name not in known)
    return bytes(Extractor(model).extract_model([start], [end]).SerializeToString())


def multiply_adds(network: bytes) -> int:
    """Multiply-adds that a network's convolutions need for one frame."""
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(network))
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*model.graph.value_info, *model.graph.output)
    }
    made_of = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    weights = {w.name: w.dims for w in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            kernel = weights[made_of.get(node.input[1], node.input[1])]
            height, width = shapes[node.output[0]][2:]
            total += int(np.prod(kernel)) * height * width
    return total


def peaks() -> dict[str, tuple[Callable[[], object], int]]:
    """Large matrix products on one thread, in float and of uint8 with int8: function and multiply-adds of each."""
    random = np.random.default_rng(0)
    side = _PEAK_SIDE
    real = random.normal(size=(side, side)).astype(np.float32)
    # Seven bits, as engines have them: the widest that no processor saturates on.
    small = random.integers(-64, 64, (side, side)).astype(np.int8)
    byte = random.integers(0, 256, (side, side)).astype(np.uint8)
    cases = (
        ("float", "MatMul", real, real, TensorProto.FLOAT, TensorProto.FLOAT),
        ("int8", "MatMulInteger", byte, small, TensorProto.UINT8, TensorProto.INT32),
    )
    found = {}
    for name, kind, left, right, given, wanted in cases:
        graph = helper.make_graph(
            [helper.make_node(kind, ["a", "b"], ["c"])],
            name,
            [helper.make_tensor_value_info("a", given, [side, side])],
            [helper.make_tensor_value_info("c", wanted, [side, side])],
            [numpy_helper.from_array(right, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        found[name] = (runner(model.SerializeToString(), 1, {"a": left}), side**3)
    return found
