"""The first look into a file that says it is an engine."""

import contextlib
import os
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge_client.contract.engine_metadata import EngineMetadata
from edge_client.contract.errors import BadEngine
from edge_client.contract.onnx_check import ALLOWED_OPERATORS, check_onnx
from tests.tiny_engine import tiny_engine

ENGINE = tiny_engine()


def changed(change: Callable[[onnx.ModelProto], object]) -> bytes:
    """The tiny engine after `change`."""
    model = onnx.load_from_string(ENGINE)
    change(model)
    data: bytes = model.SerializeToString()
    return data


def loop_model() -> bytes:
    """A Loop that runs 2**62 times, in a few hundred bytes."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["cond"], ["cond_out"]), helper.make_node("Identity", ["x"], ["x_out"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("cond_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x_out", TensorProto.FLOAT, [1]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)],
        "loop",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.array(2**62, np.int64), "n")],
    )
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return data


def test_a_whole_engine_is_described_without_its_weights() -> None:
    summary = check_onnx(ENGINE)
    assert summary.metadata == EngineMetadata.from_json(onnx.load_from_string(ENGINE).metadata_props[0].value)
    assert summary.operators["Gemm"] == 2
    assert summary.inputs[0].shape == (None, None, None, 3)
    assert {o.name: len(o.shape or ()) for o in summary.outputs} == {
        "probabilities": 2,
        "anomaly": 1,
        "anomaly_map": 3,
        "embedding": 2,
    }


def test_the_reader_agrees_with_the_onnx_package_on_every_operator() -> None:
    model = onnx.load_from_string(ENGINE)
    counted: dict[str, int] = {}
    for node in model.graph.node:
        counted[node.op_type] = counted.get(node.op_type, 0) + 1
    assert check_onnx(ENGINE).operators == counted


def test_a_loop_is_refused_by_name() -> None:
    with pytest.raises(BadEngine, match="'Loop'"):
        check_onnx(loop_model())


def test_no_operator_with_a_graph_inside_is_on_the_list() -> None:
    with_graphs = {
        s.name
        for s in onnx.defs.get_all_schemas()
        if any(a.type.name in ("GRAPH", "GRAPHS") for a in s.attributes.values())
    }
    assert {"Loop", "If", "Scan"} <= with_graphs
    assert ALLOWED_OPERATORS & with_graphs == set()
    assert {o for o in ALLOWED_OPERATORS if o.startswith("Random") or o.startswith("Sequence")} == set()
    assert {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""} >= ALLOWED_OPERATORS


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda m: setattr(m.graph.node[0], "domain", "com.microsoft"), "com.microsoft::Cast"),
        (lambda m: setattr(m.graph.node[0], "op_type", "RandomNormal"), "'RandomNormal'"),
        (lambda m: setattr(m.graph.node[0], "op_type", "Ca\u202est"), "not on the list"),
        (lambda m: setattr(m.opset_import[0], "version", 99), "version 99"),
        (lambda m: m.ClearField("opset_import"), "no operator set"),
        (lambda m: m.functions.append(onnx.FunctionProto(name="f")), "functions of its own"),
        (lambda m: m.training_info.append(onnx.TrainingInfoProto()), "field 20"),
        (
            lambda m: m.graph.node[0].attribute.append(onnx.AttributeProto(name="g", g=onnx.GraphProto())),
            "graph inside",
        ),
        (lambda m: m.graph.sparse_initializer.append(onnx.SparseTensorProto()), "sparse"),
        (lambda m: setattr(m.graph.initializer[0], "data_location", 1), "another file"),
        (
            lambda m: m.graph.initializer[0].external_data.append(
                onnx.StringStringEntryProto(key="location", value="/etc")
            ),
            "another file",
        ),
        (lambda m: m.ClearField("metadata_props"), "no metadata under 'andon'"),
        (lambda m: m.metadata_props.append(m.metadata_props[0]), "twice"),
        (lambda m: setattr(m.metadata_props[0], "value", "{}"), "lacks the field"),
        (lambda m: setattr(m.graph.input[0], "name", "x"), r"inputs \['x'\]"),
        (lambda m: m.graph.input.append(m.graph.output[0]), "expected the one input"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 1), "image float32"),
        (lambda m: m.graph.input[0].type.tensor_type.shape.dim.pop(), "expected image uint8"),
        (lambda m: m.graph.output.pop(), "embedding"),
        (lambda m: setattr(m.graph.output[1].type.tensor_type, "elem_type", 11), "anomaly float64"),
        (lambda m: m.graph.output[2].type.tensor_type.shape.dim.pop(), "expected anomaly_map float32 of 3"),
        (lambda m: setattr(m.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 7), "7 probabilities"),
        (lambda m: setattr(m.graph.node[0], "op_type", "x" * 5000), "of 5000 bytes"),
    ],
)
def test_an_engine_with_something_unacceptable_is_refused_by_name(
    change: Callable[[onnx.ModelProto], object], because: str
) -> None:
    with pytest.raises(BadEngine, match=because):
        check_onnx(changed(change))


def test_a_domain_that_is_declared_but_not_used_is_no_harm() -> None:
    data = changed(lambda m: m.opset_import.append(helper.make_opsetid("com.microsoft", 1)))
    assert check_onnx(data).opset == 17


def test_the_size_is_bounded_before_anything_is_read() -> None:
    with pytest.raises(BadEngine, match="at most 10 are loaded"):
        check_onnx(b"\xff" * 11, max_bytes=10)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"ORTM" * 10, b"\x80" * 50, b"\x0b\x0c", os.urandom(4096), ENGINE[:-1], ENGINE + ENGINE]
)
def test_what_is_no_complete_onnx_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadEngine):
        check_onnx(data)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_anything_but_bad_engine(data: bytes) -> None:
    with pytest.raises(BadEngine):
        check_onnx(data)


@given(st.integers(0, len(ENGINE) - 1), st.binary(min_size=1, max_size=6), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_changed_engine_is_accepted_or_refused_but_never_breaks_the_reader(
    at: int, bytes_: bytes, insert: bool
) -> None:
    data = ENGINE[:at] + bytes_ + ENGINE[at if insert else at + len(bytes_) :]
    with contextlib.suppress(BadEngine):
        assert check_onnx(data).bytes == len(data)
