"""An inference request of the Open Inference Protocol, read and checked, whichever way it came. No I/O.

Inputs:

    image     UINT8 [N, H, W, 3], RGB; or BYTES [N], each an encoded image (PNG, JPEG, WebP)
    part_id   BYTES [N], optional: the parts, where one parameter for all is not enough

Parameters (of the request):

    part_id              the part; a text for all frames or, in JSON, a list of N
    capture              false: these frames must never be kept
    context              in JSON an object of process values; any parameter with another name is one too
    binary_data_output   true: outputs come as binary data unless one says otherwise

Outputs are those of `OUTPUTS` that are asked for, in the order asked; all where none is named. Parameters by which
clients of the protocol steer sequences, priorities and tracing (`IGNORED`) mean nothing here and are not context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from edge_client.contract.quoting import quoted
from edge_client.serving import tensors
from edge_client.serving.problems import bad

OUTPUTS: Mapping[str, str] = {  # name: datatype
    "probabilities": "FP32",
    "anomaly": "FP32",
    "anomaly_map": "FP32",
    "embedding": "FP32",
    "verdict": "BYTES",
    "label": "BYTES",
    "defect_probability": "FP32",
    "classes": "BYTES",
}
ALL_OUTPUTS = tuple(OUTPUTS)
IGNORED = frozenset({"sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers"})
_OWN = ("part_id", "capture", "context", "binary_data_output")
_TEXT = 1024
_LARGEST = 1e300  # also for whole numbers, of which JSON may hold any


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An output that is asked for."""

    name: str
    binary: bool


_WANTED = {(name, binary): Wanted(name=name, binary=binary) for name in OUTPUTS for binary in (False, True)}
_EACH = [{"name": name} for name in OUTPUTS]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InferCall:
    """What is to be inspected.

    Attributes:
        frames: uint8 [N, H, W, 3], a view of the request where it came as binary data; or N encoded images.
        parts: N part ids, one for all, or None.
        context: Process values.
        capture: Whether frames may be kept.
        wanted: Outputs, in the order in which they are answered.
        id: The request's own id, echoed.
    """

    frames: NDArray[np.uint8] | list[bytes]
    parts: str | Sequence[str | None] | None
    context: Mapping[str, Any]
    capture: bool
    wanted: tuple[Wanted, ...]
    id: str


def read_http(body: memoryview, json_bytes: int | None) -> InferCall:
    """Read the body of an HTTP request.

    Args:
        body: All of it.
        json_bytes: ``Inference-Header-Content-Length``: where JSON ends and binary data begins; None for JSON alone.
            0 stands for a body that is one encoded image.

    Raises:
        Refusal: It cannot be understood.
    """
    if json_bytes == 0:
        return one_image(bytes(body), binary=True)
    if json_bytes is not None and json_bytes > len(body):
        raise bad(
            f"Inference-Header-Content-Length is {json_bytes} and the body has {len(body)} bytes: expected at most that"
        )
    head = body if json_bytes is None else body[:json_bytes]
    try:
        told = orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise bad(f"the request is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise bad(f"the request is a JSON {type(told).__name__}: expected an object with 'inputs'")
    return _read(told, b"" if json_bytes is None else body[json_bytes:])


def one_image(data: bytes, *, binary: bool = False, part: str | None = None) -> InferCall:
    """Return the call for one encoded image, without JSON."""
    names = ALL_OUTPUTS if binary else ("probabilities", "anomaly", "verdict", "label")  # the rest is not for people
    return InferCall(
        frames=[data],
        parts=check_part(part),
        context={},
        capture=True,
        wanted=tuple(Wanted(name=name, binary=binary) for name in names),
        id="",
    )


def _read(told: dict[str, Any], rest: memoryview | bytes) -> InferCall:
    id = check_text(told.get("id", ""), "id", _TEXT)
    parameters = _object(told.get("parameters", {}), "parameters")
    inputs = told.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise bad("the request has no 'inputs': expected a list with the input 'image'")
    read: dict[str, Any] = {}
    at = 0
    for given in inputs:
        name, datatype, shape = _described(given, read)
        size = _object(given.get("parameters", {}), f"parameters of the input {name!r}").get("binary_data_size")
        if size is None:
            read[name] = _from_json(name, datatype, shape, given)
            continue
        if type(size) is not int or size < 0 or size > len(rest) - at:
            raise bad(
                f"input {name!r} has the binary_data_size {quoted(size, most=60)} and {len(rest) - at} bytes follow "
                "the JSON header: expected a size within them; the header's own length goes into "
                "Inference-Header-Content-Length"
            )
        if "data" in given:
            raise bad(f"input {name!r} has both data and binary_data_size: expected one of them")
        read[name] = from_raw(name, datatype, shape, memoryview(rest)[at : at + size])
        at += size
    if at != len(rest):
        raise bad(f"{len(rest) - at} bytes follow the binary data that the inputs name: expected none")
    binary = _flag(parameters, "binary_data_output", False)
    return assemble(read, parameters, _wanted(told.get("outputs", []), binary=binary), id)


def assemble(
    inputs: Mapping[str, Any], parameters: Mapping[str, Any], wanted: tuple[Wanted, ...], id: str
) -> InferCall:
    """Put a call together from its checked inputs and its parameters.

    Args:
        inputs: ``image``, and perhaps ``part_id`` (a list of texts).
        parameters: As above.
        wanted: Outputs asked for.
        id: The request's id.

    Raises:
        Refusal: No image, or a parameter of another kind.
    """
    if "image" not in inputs:
        raise bad(f"the request has the inputs {sorted(inputs)}: expected 'image'")
    image = inputs["image"]
    count = len(image)
    if not 1 <= count <= tensors.MAX_BATCH:
        raise bad(f"input 'image' has {count} frames: expected from 1 to {tensors.MAX_BATCH}")
    part = parameters.get("part_id")
    parts: str | list[str | None] | None
    if "part_id" in inputs:
        if part is not None:
            raise bad("part_id is given both as an input and as a parameter: expected one of them")
        parts = [check_part(p) for p in inputs["part_id"]]
    elif isinstance(part, list):
        parts = [check_part(p) for p in part]
    else:
        parts = check_part(part)
    if isinstance(parts, list) and len(parts) != count:
        raise bad(f"{len(parts)} part ids for {count} frames: expected one each, or one for all")
    return InferCall(
        frames=image,
        parts=parts,
        context=_context(parameters),
        capture=_flag(parameters, "capture", True),
        wanted=wanted,
        id=id,
    )


def from_raw(name: str, datatype: str, shape: tuple[int, ...], data: memoryview) -> Any:
    """Read an input's binary data.

    Raises:
        Refusal: It does not fit its shape.
    """
    if datatype == "UINT8":
        return tensors.uint8_from_binary(data, shape, name)
    values = tensors.bytes_from_binary(data, shape, name)
    return as_texts(values) if name == "part_id" else values


def as_texts(values: Sequence[bytes]) -> list[str]:
    """Return part ids that came as bytes.

    Raises:
        Refusal: One is no UTF-8.
    """
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise bad(f"input 'part_id' holds bytes that are no UTF-8: {error}") from None


def check_input(name: object, datatype: object, shape: object, known: Mapping[str, Any]) -> tuple[int, ...]:
    """Check what an input says about itself, and return its shape.

    Raises:
        Refusal: An input that is not known or came before, or of another datatype or rank.
    """
    if not isinstance(name, str) or name not in ("image", "part_id"):
        raise bad(f"input {quoted(name, most=60)} is not known: expected 'image', and perhaps 'part_id'")
    if name in known:
        raise bad(f"input {name!r} is given twice")
    shaped = tensors.check_shape(shape, name)
    allowed = ("BYTES", "UINT8") if name == "image" else ("BYTES",)
    if datatype not in allowed:
        raise bad(f"input {name!r} has the datatype {quoted(datatype, most=60)}: expected {' or '.join(allowed)}")
    if datatype == "UINT8" and (len(shaped) != 4 or shaped[3] != 3 or 0 in shaped):
        raise bad(f"input {name!r} has the shape {list(shaped)}: expected [N, H, W, 3], none of them 0")
    if datatype == "BYTES" and len(shaped) != 1:
        raise bad(f"input {name!r} has the shape {list(shaped)}: expected [N] for the datatype BYTES")
    return shaped


def check_output(name: object, known: Sequence[str] = ()) -> str:
    """Return the name of an output that there is.

    Raises:
        Refusal: There is none of that name, or it was asked for before.
    """
    if not isinstance(name, str) or name not in OUTPUTS:
        raise bad(f"output {quoted(name, most=60)} is not known: there are {', '.join(OUTPUTS)}")
    if name in known:
        raise bad(f"output {name!r} is asked for twice")
    return name


def check_part(part: object) -> str | None:
    """Return a part id.

    Raises:
        Refusal: No short text.
    """
    return None if part is None else check_text(part, "part_id", 256) or None


def check_text(value: object, what: str, most: int) -> str:
    """Return a short text.

    Raises:
        Refusal: No text, too long, or with half a surrogate pair in it, which cannot be stored as UTF-8.
    """
    if not isinstance(value, str) or len(value) > most:
        raise bad(f"{what} is {quoted(value, most=60)}: expected a text of at most {most} characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise bad(f"{what} is {quoted(value, most=60)}: expected characters that UTF-8 can hold") from None
    return value


def _described(given: object, known: Mapping[str, Any]) -> tuple[str, str, tuple[int, ...]]:
    if not isinstance(given, dict):
        raise bad(f"an input is {quoted(given, most=60)}: expected an object with name, shape, datatype and data")
    name, datatype = given.get("name"), given.get("datatype")
    shape = check_input(name, datatype, given.get("shape"), known)
    return str(name), str(datatype), shape


def _from_json(name: str, datatype: str, shape: tuple[int, ...], given: Mapping[str, Any]) -> Any:
    if "data" not in given:
        raise bad(f"input {name!r} has neither data nor the parameter binary_data_size: expected one of them")
    if datatype == "UINT8":
        return tensors.uint8_from_json(given["data"], shape, name)
    texts = tensors.bytes_from_json(given["data"], shape, name)
    return texts if name == "part_id" else [tensors.from_base64(text, name) for text in texts]


def _wanted(outputs: object, *, binary: bool) -> tuple[Wanted, ...]:
    if not isinstance(outputs, list):
        raise bad(f"outputs is {quoted(outputs, most=60)}: expected a list")
    found: dict[str, Wanted] = {}
    for asked in outputs or _EACH:
        if not isinstance(asked, dict):
            raise bad(f"an output is {quoted(asked, most=60)}: expected an object with a name")
        name = check_output(asked.get("name"), tuple(found))
        own = _object(asked.get("parameters", {}), f"parameters of the output {name!r}")
        if own.get("classification"):
            raise bad(f"output {name!r} is asked for as a classification: ask for 'label' and 'probabilities' instead")
        found[name] = _WANTED[name, _flag(own, "binary_data", binary)]
    return tuple(found.values())


def _context(parameters: Mapping[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = _object(parameters.get("context", {}), "context") | {
        key: value
        for key, value in parameters.items()
        if key not in _OWN and key not in IGNORED and not key.startswith("triton_")
    }
    for key, value in context.items():
        check_text(key, "the name of a process value", 128)
        if isinstance(value, str):
            check_text(value, f"parameter {key!r}", _TEXT)
        elif isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
            raise bad(
                f"parameter {key!r} is {quoted(value, most=60)}: expected a finite number or a text, as a process value"
            )
    return context


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad(f"{what}: {quoted(value, most=60)} is no object")
    return value


def _flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise bad(f"parameter {name!r} is {quoted(value, most=60)}: expected true or false")
    return value
