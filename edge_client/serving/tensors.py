"""Tensors of the Open Inference Protocol: JSON and binary forms of UINT8, FP32 and BYTES. No I/O.

1. A tensor's data has exactly as many elements as its shape says, in row-major order; JSON may nest it or not.
2. The binary form of UINT8 and FP32 is the little-endian memory; of BYTES, each element's length as a little-endian
   uint32 and then its bytes.
3. A binary UINT8 tensor is a view of the request's body: nothing is copied.
4. In JSON an element of BYTES that is not text travels as base64, since an image is no text.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.quoting import quoted
from edge_client.serving.problems import bad

MAX_ELEMENTS = 1 << 31
MAX_BATCH = 256  # frames in one request; more belong into several
_MAX_RANK = 8
_LENGTH = struct.Struct("<I")


def check_shape(shape: object, name: str) -> tuple[int, ...]:
    """Return a shape as a tuple.

    Raises:
        Refusal: No list of a few non-negative whole numbers.
    """
    if not isinstance(shape, list | tuple) or len(shape) > _MAX_RANK or any(type(n) is not int or n < 0 for n in shape):
        raise bad(
            f"input {name!r} has the shape {quoted(shape, most=60)}: expected a list of whole numbers, none negative"
        )
    if math.prod(shape) > MAX_ELEMENTS:
        raise bad(f"input {name!r} has the shape {quoted(shape, most=60)}: at most {MAX_ELEMENTS} elements are read")
    return tuple(shape)


def uint8_from_binary(data: memoryview, shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    """Return a view of binary data as uint8 of `shape`.

    Raises:
        Refusal: Another number of bytes.
    """
    if len(data) != math.prod(shape):
        raise bad(
            f"input {name!r} of shape {list(shape)} and datatype UINT8 has {len(data)} bytes of binary data: expected "
            f"{math.prod(shape)}"
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def uint8_from_json(data: object, shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    """Return JSON data, flat or nested, as uint8 of `shape`.

    Raises:
        Refusal: Another number of elements, or one that is no whole number from 0 to 255.
    """
    flat = _flatten(data, name)
    if len(flat) != math.prod(shape):
        raise bad(f"input {name!r} of shape {list(shape)} has {len(flat)} elements: expected {math.prod(shape)}")
    if flat and set(map(type, flat)) != {int}:
        odd = next(v for v in flat if type(v) is not int)
        raise bad(
            f"input {name!r} holds {quoted(odd, most=60)}: expected whole numbers from 0 to 255 for the datatype UINT8"
        )
    try:
        return np.frombuffer(bytes(flat), dtype=np.uint8).reshape(shape)
    except ValueError:
        odd = next(v for v in flat if not 0 <= v <= 255)
        raise bad(f"input {name!r} holds {quoted(odd, most=60)}: expected whole numbers from 0 to 255") from None


def bytes_from_binary(data: memoryview, shape: tuple[int, ...], name: str) -> list[bytes]:
    """Return the elements of a binary BYTES tensor.

    Raises:
        Refusal: The lengths do not fit the data, or there are more or fewer elements than the shape says.
    """
    expected = math.prod(shape)
    found: list[bytes] = []
    at = 0
    while at < len(data) and len(found) < expected:
        end = at + _LENGTH.size
        if end > len(data):
            break
        length = _LENGTH.unpack_from(data, at)[0]
        if length > len(data) - end:
            raise bad(
                f"input {name!r}: element {len(found)} says it has {length} bytes, {len(data) - end} are left; a BYTES "
                "element is its length as a little-endian uint32 and then its bytes"
            )
        found.append(bytes(data[end : end + length]))
        at = end + length
    if len(found) != expected or at != len(data):
        raise bad(
            f"input {name!r} of shape {list(shape)} and datatype BYTES has {len(found)} elements and then "
            f"{len(data) - at} bytes more: expected exactly {expected} elements"
        )
    return found


def bytes_from_json(data: object, shape: tuple[int, ...], name: str) -> list[str]:
    """Return the elements of a JSON BYTES tensor as the texts they are.

    Raises:
        Refusal: An element that is no text, or another number of them.
    """
    flat = _flatten(data, name)
    if len(flat) != math.prod(shape):
        raise bad(f"input {name!r} of shape {list(shape)} has {len(flat)} elements: expected {math.prod(shape)}")
    for value in flat:
        if not isinstance(value, str):
            raise bad(f"input {name!r} holds {quoted(value, most=60)}: expected texts for the datatype BYTES")
    return flat


def from_base64(text: str, name: str) -> bytes:
    """Return the bytes that a text stands for (rule 4).

    Raises:
        Refusal: It is no base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad(
            f"input {name!r} holds a text that is no base64 ({error}): an encoded image in JSON is base64; or send it "
            "as binary data"
        ) from None


def bytes_to_binary(values: Sequence[bytes]) -> bytes:
    """Return the binary form of a BYTES tensor."""
    return b"".join(part for value in values for part in (_LENGTH.pack(len(value)), value))


def _flatten(data: object, name: str) -> list[Any]:
    if not isinstance(data, list):
        raise bad(f"input {name!r} has the data {quoted(data, most=60)}: expected a list")
    flat: list[Any] = data
    for _ in range(_MAX_RANK):
        if not any(type(value) is list for value in flat):
            return flat
        if not all(type(value) is list for value in flat):
            raise bad(f"input {name!r} mixes lists and values in its data: expected one depth of nesting")
        flat = [value for row in flat for value in row]
    raise bad(f"input {name!r} nests its data deeper than {_MAX_RANK} lists")
