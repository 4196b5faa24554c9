"""Engine files and the metadata in them.

What the first look accepts is held against the `onnx` package, which reads as the runtime does: an operator, a
function, a subgraph or a reference to another file that only one of the two sees would be a way past the check.
"""

from __future__ import annotations

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from edge_client.contract.engine_metadata import EngineMetadata
from edge_client.contract.errors import BadEngine
from edge_client.contract.onnx_check import ALLOWED_OPERATORS, OnnxSummary, check_onnx
from tests.fuzz.mutations.onnx_model import mutate_onnx
from tests.fuzz.mutations.values import JSON_TOKENS, mutate_json
from tests.fuzz.target import Target
from tests.tiny_engine import tiny_engine, tiny_metadata


def read_engine(data: bytes) -> OnnxSummary:
    """Check an engine; if it passes, the `onnx` package must see the same in it."""
    summary = check_onnx(data)
    try:
        model = onnx.load_from_string(data)
    except DecodeError:
        return summary  # a runtime refuses it as well
    seen: dict[str, int] = {}
    for node in model.graph.node:
        seen[node.op_type] = seen.get(node.op_type, 0) + 1
        assert node.domain in ("", "ai.onnx"), f"a node of {node.domain!r} passed"
        for attribute in node.attribute:
            assert not attribute.HasField("g"), f"a subgraph in {node.op_type} passed"
            assert not attribute.graphs, f"subgraphs in {node.op_type} passed"
            for tensor in (attribute.t, *attribute.tensors):
                _check_tensor(tensor)
    for tensor in model.graph.initializer:
        _check_tensor(tensor)
    assert not model.functions, "functions passed"
    assert set(seen) <= ALLOWED_OPERATORS, f"operators passed: {set(seen) - ALLOWED_OPERATORS}"
    assert seen == dict(summary.operators), f"operators differ: {seen} and {dict(summary.operators)}"
    versions = {o.version for o in model.opset_import if o.domain in ("", "ai.onnx")}
    assert versions == {summary.opset}, f"operator sets differ: {versions} and {summary.opset}"
    declared = (*model.graph.input, *model.graph.output)
    for found, known in zip(declared, (*summary.inputs, *summary.outputs), strict=True):
        tensor_type = found.type.tensor_type
        assert found.type.WhichOneof("value") in (None, "tensor_type"), f"{found.name} is no tensor"
        assert (found.name, tensor_type.elem_type) == (known.name, known.element_type), f"{found} and {known} differ"
        rank = len(tensor_type.shape.dim) if tensor_type.HasField("shape") else None
        assert rank == (None if known.shape is None else len(known.shape)), f"{found} and {known} differ"
    return summary


def _check_tensor(tensor: onnx.TensorProto) -> None:
    assert not tensor.external_data, "external data passed"
    assert tensor.data_location != TensorProto.EXTERNAL, "an external tensor passed"


def read_metadata(data: bytes) -> None:
    """Read an engine's metadata; what is accepted survives being written and has only hashable, plain fields."""
    metadata = EngineMetadata.from_json(data.decode("utf-8", "surrogateescape"))
    hash(metadata)
    assert EngineMetadata.from_json(metadata.to_json()) == metadata


def _engines() -> tuple[bytes, ...]:
    return (
        tiny_engine(),
        tiny_engine(classes=(("ok", "ok"),), embedding_width=2),
        tiny_engine(classes=(("ok", "ok"), ("crack", "defect"), ("break", "defect")), nan=True, variant="int8"),
    )


def _metadata() -> tuple[bytes, ...]:
    made = (tiny_metadata(), tiny_metadata(classes=(("ok", "ok"),), variant="int8"))
    return tuple(metadata.to_json().encode() for metadata in made)


ENGINE = Target(name="engine", read=read_engine, refusals=(BadEngine,), seeds=_engines, mutate=mutate_onnx)
METADATA = Target(
    name="metadata", read=read_metadata, refusals=(BadEngine,), seeds=_metadata, mutate=mutate_json, tokens=JSON_TOKENS
)
