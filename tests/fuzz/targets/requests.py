"""Requests to the inference server, over HTTP and gRPC: from the bytes of a connection to the bytes of the answer.

Everything between is the real thing, with a tiny engine; the socket alone is replaced.
"""

from __future__ import annotations

import atexit
import json
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from google.protobuf.message import DecodeError

from edge_client.client import Client
from edge_client.contract.signing import generate_private_key
from edge_client.serving.answer import outputs_of
from edge_client.serving.counts import ServerCounts
from edge_client.serving.grpc_server import read_message
from edge_client.serving.http_answers import Prepared, answer, prepare, refused
from edge_client.serving.http_head import Head, Heads
from edge_client.serving.http_reader import HttpLimits, HttpReader
from edge_client.serving.models import Model, Models
from edge_client.serving.problems import Refusal, bad
from edge_client.serving.service import Service
from edge_client.serving.slots import Slots
from edge_client.serving.tensors import bytes_to_binary
from edge_client.serving.wire import Gone
from tests.fuzz import seeds
from tests.fuzz.mutations.http import mutate_http
from tests.fuzz.mutations.protobuf import change_a_field, mutate_wire
from tests.fuzz.target import LONGEST_MESSAGE, Target
from tests.tiny_engine import tiny_engine

_PIECE = 700  # bytes that arrive at once: less than most requests, so that they come in pieces
_MOST_REQUESTS = 20
_LIMITS = HttpLimits(body_bytes=1 << 20)
_INFER = f"POST /v2/models/{seeds.INSPECTION}/infer HTTP/1.1"
_FRAME = bytes(range(2 * 3 * 3))
_TEXTS = (
    "image",
    "part_id",
    "UINT8",
    "BYTES",
    "FP32",
    seeds.INSPECTION,
    "",
    "ü",
    "a" * 2000,
    "capture",
    "context",
    "verdict",
)


@cache
def _service() -> Service:
    """A server's service without its sockets, in a folder that goes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="andon-fuzz-")
    atexit.register(folder.cleanup)
    place = Path(folder.name)
    generate_private_key(place / "device.key")
    (place / "factory.onnx").write_bytes(tiny_engine(inspection=seeds.INSPECTION))
    (place / "andon.toml").write_text(
        f'[device]\nname = "{seeds.DEVICE}"\nsite = "plant"\nstation = "el-1"\nkey = "device.key"\n'
        f'[inspection]\nname = "{seeds.INSPECTION}"\nfactory_engine = "factory.onnx"\n[capture]\nenabled = false\n'
    )
    client = Client.from_config(place / "andon.toml")
    atexit.register(client.close)
    return Service(Models([Model(client)]), Slots(1, queue=1, deadline_seconds=1.0), ServerCounts())


class _Recorded:
    """A connection whose client has sent these bytes and waits for the answers."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self.sent: list[bytes] = []

    def read(self, view: memoryview, deadline: float) -> int:
        piece = self._data[: min(_PIECE, len(view))]
        view[: len(piece)] = piece
        self._data = self._data[len(piece) :]
        return len(piece)

    def fill(self, view: memoryview, deadline: float) -> None:
        if len(self._data) < len(view):
            raise Gone("the client ended in the middle of a body")
        view[:] = self._data[: len(view)]
        self._data = self._data[len(view) :]

    def write(self, pieces: Sequence[bytes], deadline: float) -> None:
        self.sent.append(b"".join(pieces))


def read_connection(data: bytes) -> None:
    """Serve a connection as the server's thread does, without the net that it has for what nobody thought of.

    Raises:
        Refusal: The last one, when no request was answered with what it asked for.
        Gone: The client ended in the middle of a body.
    """
    heads: Heads[Prepared] = Heads(_prepare)
    wire = _Recorded(data)
    reader: HttpReader[Prepared] = HttpReader(wire, heads, _head_of, _LIMITS)  # type: ignore[arg-type]
    last: Refusal = bad("the connection brought no request")
    answered = 0
    for _ in range(_MOST_REQUESTS):
        try:
            request = reader.next()
        except Refusal as refusal:
            _check_answer(b"".join(refused(refusal).on_the_wire(keep_alive=False)))
            last = refusal
            break
        if request is None:
            break
        prepared, body = request
        try:
            made = answer(_service(), prepared, body)
            answered += 1
        except Refusal as refusal:
            made, last = refused(refusal), refusal
        _check_answer(b"".join(made.on_the_wire(keep_alive=prepared.head.keep_alive)))
        if not prepared.head.keep_alive or reader.ambiguous:
            break
    if not answered:
        raise last


def _prepare(head: Head) -> Prepared:
    return prepare(head, None)


def _head_of(prepared: Prepared) -> Head:
    return prepared.head


def _check_answer(wire: bytes) -> None:
    """An answer has one head, the length that it says, and JSON where it says so."""
    head, _, body = wire.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in lines)
    assert status.startswith(b"HTTP/1.1 "), status
    assert int(fields[b"Content-Length"]) == len(body)
    if fields[b"Content-Type"] == b"application/json":
        told = json.loads(body)
        assert b" 200 " in status or len(told["error"]) <= LONGEST_MESSAGE
    elif b"Inference-Header-Content-Length" in fields:
        json.loads(body[: int(fields[b"Inference-Header-Content-Length"])])


def _request(body: bytes, *fields: str, first: str = _INFER) -> bytes:
    lines = (first, "Host: edge", *fields, f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _requests() -> tuple[bytes, ...]:
    image: dict[str, Any] = {"name": "image", "datatype": "UINT8", "shape": [1, 2, 3, 3]}
    plain = {"id": "r1", "inputs": [image | {"data": list(_FRAME)}], "parameters": {"part_id": "A-1", "humidity": 0.4}}
    binary = {
        "inputs": [
            image | {"shape": [2, 1, 3, 3], "parameters": {"binary_data_size": len(_FRAME)}},
            {"name": "part_id", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
        ],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "verdict"}],
    }
    png = seeds.images()[0]
    encoded = bytes_to_binary([png, seeds.images()[5]])
    files = {
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(encoded)}}
        ],
        "outputs": [{"name": "anomaly"}, {"name": "label"}],
    }
    told, named = json.dumps(binary).encode(), json.dumps(files).encode()
    return (
        _request(json.dumps(plain).encode(), "Content-Type: application/json"),
        _request(told + _FRAME, f"Inference-Header-Content-Length: {len(told)}"),
        _request(named + encoded, f"Inference-Header-Content-Length: {len(named)}"),
        _request(png, "Content-Type: image/png", "Connection: close"),
        _request(b"", first="GET /v2 HTTP/1.1"),
        _request(b"", first=f"GET /v2/models/{seeds.INSPECTION} HTTP/1.1"),
    )


_MESSAGES: Any = import_module("edge_client.serving.generated.open_inference_pb2")  # generated, without types


def read_call(data: bytes) -> None:
    """Read a call of ModelInfer, inspect, and make the outputs.

    Raises:
        Refusal: It cannot be understood, or not be inspected.
    """
    try:
        message = _MESSAGES.ModelInferRequest.FromString(data)
    except DecodeError:
        raise bad("no message of the protocol; gRPC refuses it") from None
    call, predictions = _service().infer(
        message.model_name, message.model_version or None, lambda: read_message(message)
    )
    for output in outputs_of(predictions, call.wanted):
        assert len(output.binary()) > 0


def _calls() -> tuple[bytes, ...]:
    raw = _MESSAGES.ModelInferRequest(model_name=seeds.INSPECTION, id="r1")
    raw.inputs.add(name="image", datatype="UINT8", shape=[1, 2, 3, 3])
    raw.raw_input_contents.append(_FRAME)
    raw.parameters["part_id"].string_param = "A-1"
    raw.outputs.add(name="verdict")
    plain = _MESSAGES.ModelInferRequest(model_name=seeds.INSPECTION, model_version="e1")
    plain.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(seeds.images()[0])
    plain.inputs.add(name="part_id", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"A-1")
    plain.parameters["humidity"].double_param = 0.4
    return (raw.SerializeToString(), plain.SerializeToString())


def _mutate_call(data: bytes, random: Random) -> bytes:
    if random.random() < 0.5:
        return mutate_wire(data, random)
    try:
        message = _MESSAGES.ModelInferRequest.FromString(data)
        if random.random() < 0.7:
            change_a_field(message, random, _TEXTS)
        else:
            change_a_field(message.parameters[random.choice(_TEXTS)], random, _TEXTS)
        changed: bytes = message.SerializeToString()
    except (DecodeError, ValueError, TypeError):
        return mutate_wire(data, random)
    return changed


REQUEST = Target(name="request", read=read_connection, refusals=(Refusal, Gone), seeds=_requests, mutate=mutate_http)
CALL = Target(name="call", read=read_call, refusals=(Refusal,), seeds=_calls, mutate=_mutate_call)
