"""Parts of a graph, run by themselves: by the runtime that devices have, or by the operators' reference."""

from __future__ import annotations

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edge_client.contract.onnx_check import ALLOWED_OPERATORS
from training.graph_part import GraphPart


def model_of(parts: list[GraphPart], given: dict[str, int], wanted: list[str]) -> onnx.ModelProto:
    body = onnx.GraphProto(name="part")
    for part in parts:
        part.behind(body)
    body.input.extend(helper.make_tensor_value_info(name, kind, None) for name, kind in given.items())
    body.output.extend(helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in wanted)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    assert {node.op_type for node in body.node} <= ALLOWED_OPERATORS
    return model


def run(model: onnx.ModelProto, given: dict[str, NDArray], *, by_reference: bool = False) -> list[NDArray]:
    if by_reference:
        return list(ReferenceEvaluator(model).run(None, given))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    del model.graph.output[:]
    made = {name for node in model.graph.node for name in node.input}
    last = [name for node in model.graph.node for name in node.output if name not in made]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in last)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, given))
