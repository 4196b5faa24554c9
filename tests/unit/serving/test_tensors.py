"""Tensors of the protocol: what is written is read, and what does not fit is refused with a sentence."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.serving import tensors
from edge_client.serving.problems import Refusal

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.just(3))


@given(SHAPES, st.randoms())
def test_uint8_survives_both_forms_and_nesting(shape, random):
    frame = np.array([random.randrange(256) for _ in range(int(np.prod(shape)))], np.uint8).reshape(shape)
    binary = tensors.uint8_from_binary(memoryview(frame.tobytes()), shape, "image")
    flat = tensors.uint8_from_json(json.loads(json.dumps(frame.reshape(-1).tolist())), shape, "image")
    nested = tensors.uint8_from_json(json.loads(json.dumps(frame.tolist())), shape, "image")
    for read in (binary, flat, nested):
        np.testing.assert_array_equal(read, frame)


def test_a_binary_frame_is_a_view_of_the_body():
    body = bytearray(12)
    frame = tensors.uint8_from_binary(memoryview(body), (1, 2, 2, 3), "image")
    body[5] = 77
    assert frame[0, 0, 1, 2] == 77


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_bytes_survive_the_binary_form(values):
    data = memoryview(tensors.bytes_to_binary(values))
    assert tensors.bytes_from_binary(data, (len(values),), "image") == values


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_bytes_survive_json_as_base64(values):
    texts = json.loads(json.dumps([base64.b64encode(v).decode() for v in values]))
    read = tensors.bytes_from_json(texts, (len(values),), "image")
    assert [tensors.from_base64(text, "image") for text in read] == values


@given(st.binary(max_size=60), st.integers(0, 5))
def test_any_binary_bytes_tensor_is_read_or_refused(data, n):
    try:
        values = tensors.bytes_from_binary(memoryview(data), (n,), "image")
    except Refusal:
        return
    assert tensors.bytes_to_binary(values) == data
    assert len(values) == n


@pytest.mark.parametrize(
    ("data", "shape", "words"),
    [
        ([1] * 2, (1, 1, 1, 3), "2 elements: expected 3"),
        ([1, 2, 256], (1, 1, 1, 3), "holds 256"),
        ([1, 2, -1], (1, 1, 1, 3), "holds -1"),
        ([1, 2, 1.0], (1, 1, 1, 3), "holds 1.0"),
        ([1, 2, True], (1, 1, 1, 3), "holds True"),
        ([1, 2, "3"], (1, 1, 1, 3), "holds '3'"),
        ([1, 2, None], (1, 1, 1, 3), "holds None"),
        ([1, [2], 3], (1, 1, 1, 3), "mixes lists"),
        ([[[[[[[[[[1, 2, 3]]]]]]]]]], (1, 1, 1, 3), "deeper"),
        ("123", (1, 1, 1, 3), "expected a list"),
        (None, (1, 1, 1, 3), "expected a list"),
    ],
)
def test_numbers_that_are_no_frame_are_refused(data, shape, words):
    with pytest.raises(Refusal, match=words):
        tensors.uint8_from_json(data, shape, "image")


@pytest.mark.parametrize("shape", [None, "1", {}, [1.0], [True], [-1, 2], [1] * 9, [1 << 20, 1 << 20], ["2"]])
def test_shapes_that_are_none_are_refused(shape):
    with pytest.raises(Refusal, match="shape"):
        tensors.check_shape(shape, "image")
