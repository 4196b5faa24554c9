"""Changes to ONNX files: to the parsed model, to the wire format under it, and to the metadata inside."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import TensorProto, helper

from tests.fuzz.mutations.plain import mutate_bytes
from tests.fuzz.mutations.protobuf import change_a_field, mutate_wire
from tests.fuzz.mutations.values import mutate_json

_VERSIONS = (0, 1, 11, 17, 23, 24, 2**31 - 1, -1)
_TEXTS = (
    "",
    "image",
    "anomaly",
    "Loop",
    "If",
    "Scan",
    "Conv",
    "Identity",
    "ai.onnx",
    "com.microsoft",
    "andon",
    "x" * 2000,
    "ü",
)


def mutate_onnx(data: bytes, random: Random) -> bytes:
    """Return an ONNX file after a change on one of the three levels."""
    kind = random.randrange(10)
    if kind == 0:
        return mutate_bytes(data, random)
    if kind < 4:
        return mutate_wire(data, random)
    try:
        model = onnx.load_from_string(data)
        for _ in range(random.choice((1, 1, 2, 3))):
            random.choice(_CHANGES)(model, random)
        changed: bytes = model.SerializeToString()
    except (DecodeError, EncodeError, ValueError, TypeError, RecursionError):
        return mutate_wire(data, random)
    return changed


def _any_field(model: onnx.ModelProto, random: Random) -> None:
    change_a_field(model, random, _TEXTS)


def _metadata(model: onnx.ModelProto, random: Random) -> None:
    for entry in model.metadata_props:
        if isinstance(entry.value, str):  # bytes, where it is no UTF-8
            entry.value = mutate_json(entry.value.encode(), random).decode("utf-8", "replace")


def _subgraph(model: onnx.ModelProto, random: Random) -> None:
    node = _one(model.graph.node, random)
    body = helper.make_graph([helper.make_node("Loop", ["n"], ["y"])], "body", [], [])
    attribute = node.attribute.add(name="body", type=onnx.AttributeProto.GRAPH)
    (attribute.g if random.random() < 0.5 else attribute.graphs.add()).CopyFrom(body)


def _external(model: onnx.ModelProto, random: Random) -> None:
    tensor = _one(model.graph.initializer, random)
    if random.random() < 0.5:
        tensor.data_location = TensorProto.EXTERNAL
    else:
        tensor.external_data.add(key="location", value="/etc/passwd")


def _functions(model: onnx.ModelProto, random: Random) -> None:
    model.functions.add(name="f", domain=random.choice(_TEXTS))
    model.opset_import.add(domain=random.choice(_TEXTS), version=random.choice(_VERSIONS))


def _node(model: onnx.ModelProto, random: Random) -> None:
    node = _one(model.graph.node, random)
    if random.random() < 0.5:
        node.op_type = random.choice(_TEXTS)
    else:
        node.domain = random.choice(_TEXTS)


def _one(messages: Any, random: Random) -> Any:
    """One message of a repeated field, which gets its first where it is empty."""
    return random.choice(list(messages)) if messages else messages.add()


_CHANGES: tuple[Callable[[onnx.ModelProto, Random], None], ...] = (
    _any_field, _any_field, _any_field, _metadata, _metadata, _subgraph, _external, _functions, _node,
)  # fmt: skip
