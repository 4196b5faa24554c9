"""Inference requests: read as the protocol says, or refused with a sentence that names what is wrong."""

import base64
import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.serving.inference import ALL_OUTPUTS, InferCall, read_http
from edge_client.serving.problems import Refusal
from edge_client.serving.tensors import bytes_to_binary

FRAME = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)


def image(**changes: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": FRAME.ravel().tolist()} | changes


def request(*inputs: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs) or [image()], **more}


def read(told: Any, rest: bytes | None = None) -> InferCall:
    head = told if isinstance(told, bytes) else json.dumps(told).encode()
    return read_http(memoryview(head + (rest or b"")), len(head) if rest is not None else None)


def binary(size: int = 12, **changes: Any) -> dict[str, Any]:
    given = image(parameters={"binary_data_size": size}) | changes
    del given["data"]
    return given


def test_json_and_binary_give_the_same_call():
    for call in (read(request()), read(request(binary()), FRAME.tobytes())):
        np.testing.assert_array_equal(call.frames, FRAME)
        assert [w.name for w in call.wanted] == list(ALL_OUTPUTS)
        assert (call.parts, call.context, call.capture, call.id) == (None, {}, True, "")


def test_parameters_say_part_context_and_capture():
    call = read(
        request(
            id="r1",
            parameters={
                "part_id": "A-1",
                "capture": False,
                "context": {"humidity": 0.4},
                "recipe": "b7",
                "speed": 3,
                "timeout": 5,
                "sequence_id": 7,
                "triton_enable_empty_final_response": True,
                "binary_data_output": True,
            },
            outputs=[{"name": "verdict"}, {"name": "anomaly", "parameters": {"binary_data": False}}],
        )
    )
    assert (call.parts, call.capture, call.id) == ("A-1", False, "r1")
    assert call.context == {"humidity": 0.4, "recipe": "b7", "speed": 3}
    assert [(w.name, w.binary) for w in call.wanted] == [("verdict", True), ("anomaly", False)]


def test_part_ids_come_as_a_list_or_as_an_input():
    two = image(shape=[2, 1, 2, 3])
    part = {"name": "part_id", "datatype": "BYTES", "shape": [2]}
    raw = bytes_to_binary([b"a", "ü".encode()])
    assert read(request(two, parameters={"part_id": ["a", None]})).parts == ["a", None]
    assert read(request(two, part | {"data": ["a", "b"]})).parts == ["a", "b"]
    assert read(request(two, part | {"parameters": {"binary_data_size": len(raw)}}), raw).parts == ["a", "ü"]


def test_encoded_images_come_as_bytes():
    two = {"name": "image", "datatype": "BYTES", "shape": [2]}
    texts = [base64.b64encode(v).decode() for v in (b"one", b"two")]
    raw = bytes_to_binary([b"one", b"two"])
    assert read(request(two | {"data": texts})).frames == [b"one", b"two"]
    assert read(request(two | {"parameters": {"binary_data_size": len(raw)}}), raw).frames == [b"one", b"two"]
    assert read_http(memoryview(b"raw image"), 0).frames == [b"raw image"]


BAD: list[tuple[Any, str]] = [
    (b"", "no JSON"),
    (b"{", "no JSON"),
    (b"\xff\xfe", "no JSON"),
    (b"[" * 100_000, "no JSON"),
    (b'{"id": ' + b"9" * 5000 + b"}", "no JSON"),
    ([], "expected an object"),
    ({}, "'inputs'"),
    ({"inputs": {}}, "'inputs'"),
    ({"inputs": []}, "'inputs'"),
    ({"inputs": [3]}, "expected an object with name"),
    (request(id=5), "id is 5"),
    (request(id="\ud800"), "no JSON: no low surrogate"),
    (request(id="x" * 2000), "at most"),
    (request(parameters=[]), "no object"),
    (request(parameters={"part_id": 5}), "part_id is 5"),
    (request(parameters={"part_id": "x" * 300}), "part_id"),
    (request(parameters={"part_id": ["a", "b"]}), "2 part ids for 1 frames"),
    (request(parameters={"part_id": [5]}), "part_id is 5"),
    (request(parameters={"capture": "no"}), "true or false"),
    (request(parameters={"binary_data_output": 1}), "true or false"),
    (request(parameters={"humidity": None}), "'humidity'"),
    (request(parameters={"humidity": True}), "'humidity'"),
    (request(parameters={"humidity": float("nan")}), "no JSON"),
    (request(parameters={"humidity": 10**400}), "no JSON: number is infinity"),
    (request(parameters={"humidity": []}), "'humidity'"),
    (request(parameters={"context": 3}), "context"),
    (request(parameters={"context": {"a": {}}}), "'a'"),
    (request(parameters={"x" * 200: 1}), "process value"),
    (request(image(name="picture")), "'picture' is not known"),
    (request(image(name=None)), "not known"),
    (request(image(), image()), "twice"),
    (request(image(datatype="FP32")), "datatype 'FP32'"),
    (request(image(datatype=None)), "datatype None"),
    (request(image(shape=[2, 2, 3])), r"expected \[N, H, W, 3\]"),
    (request(image(shape=[1, 2, 2, 4])), r"expected \[N, H, W, 3\]"),
    (request(image(shape=[0, 2, 2, 3], data=[])), "none of them 0"),
    (request(image(shape=[1000, 1, 1, 3], data=[0] * 3000)), "1000 frames"),
    (request(image(datatype="BYTES", data=["eA=="] * 12)), r"expected \[N\]"),
    (request(image(datatype="BYTES", shape=[0], data=[])), "0 frames"),
    (request(image(datatype="BYTES", shape=[1], data=["no base64"])), "no base64"),
    (request(image(datatype="BYTES", shape=[1], data=["ü"])), "no base64"),
    (request(image(datatype="BYTES", shape=[1], data=[5])), "expected texts"),
    (request(image(parameters=3)), "no object"),
    (request({"name": "part_id", "datatype": "BYTES", "shape": [1], "data": ["a"]}), "expected 'image'"),
    (request(binary()), "binary_data_size"),
    (request(outputs={}), "expected a list"),
    (request(outputs=[{"name": "score"}]), "'score' is not known"),
    (request(outputs=["verdict"]), "expected an object with a name"),
    (request(outputs=[{"name": "label"}, {"name": "label"}]), "twice"),
    (request(outputs=[{"name": "label", "parameters": {"classification": 2}}]), "classification"),
    (request(outputs=[{"name": "label", "parameters": {"binary_data": "yes"}}]), "true or false"),
]


@pytest.mark.parametrize(("told", "words"), BAD)
def test_a_request_that_cannot_be_understood_is_refused_with_a_sentence(told, words):
    with pytest.raises(Refusal, match=words):
        read(told)


@pytest.mark.parametrize(
    ("told", "rest", "words"),
    [
        (request(binary(11)), FRAME.tobytes(), "11 bytes of binary data: expected 12"),
        (request(binary(12)), FRAME.tobytes()[:-1], "11 bytes follow"),
        (request(binary(12)), FRAME.tobytes() + b"x", "1 bytes follow"),
        (request(binary(-1)), FRAME.tobytes(), "binary_data_size -1"),
        (request(binary(True)), FRAME.tobytes(), "binary_data_size True"),
        (request(binary(datatype="BYTES", shape=[1])), b"\xff" * 12, "4294967295 bytes"),
        (request(image(parameters={"binary_data_size": 12})), FRAME.tobytes(), "both data and binary_data_size"),
        (
            request(
                image(), {"name": "part_id", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}
            ),
            b"\x01\x00\x00\x00\xff",
            "no UTF-8",
        ),
    ],
)
def test_binary_data_that_does_not_fit_is_refused(told, rest, words):
    with pytest.raises(Refusal, match=words):
        read(told, rest)


def test_a_json_header_longer_than_the_body_is_refused():
    with pytest.raises(Refusal, match="Inference-Header-Content-Length is 99"):
        read_http(memoryview(b"{}"), 99)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["inputs", "outputs", "parameters", "name", "shape", "datatype", "data", "id", "binary_data_size"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(JSON, st.binary(max_size=20) | st.none())
def test_any_json_is_read_or_refused_and_nothing_else(told, rest):
    try:
        call = read(told, rest)
    except Refusal:
        return
    assert len(call.frames) >= 1


@given(st.binary(max_size=200), st.integers(0, 250) | st.none())
def test_any_bytes_are_read_or_refused_and_nothing_else(body, json_bytes):
    with contextlib.suppress(Refusal):
        read_http(memoryview(body), json_bytes)


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [%s]}',
        b'{"inputs": [{"name": %s}]}',
        b'{"inputs": [{"name": "image", "datatype": %s}]}',
        b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [0, 0, %s]}]}',
        b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": %s}]}',
        b'{"id": %s, "inputs": []}',
        b'{"parameters": {"humidity": %s}, "inputs": []}',
    ],
)
def test_brackets_nested_deep_are_refused_like_anything_else(body: bytes):
    """The parser takes a thousand levels, more than Python can show."""
    for deep in (20, 300, 990, 1015, 1100):
        with pytest.raises(Refusal):
            read_http(memoryview(body % (b"[" * deep + b"]" * deep)), None)
