"""The same service over gRPC: messages in, messages out, a thread for each call.

Binary contents are read as they are (`raw_input_contents`: a frame is a view of the message's bytes) and answered as
`raw_output_contents`, as clients of the protocol expect.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from edge_client.contract.errors import ConfigError
from edge_client.serving.answer import described, outputs_of
from edge_client.serving.inference import (
    ALL_OUTPUTS,
    InferCall,
    Wanted,
    as_texts,
    assemble,
    check_input,
    check_output,
    check_text,
    from_raw,
)
from edge_client.serving.problems import Kind, Refusal, bad
from edge_client.serving.service import Service
from edge_client.serving.tensors import uint8_from_json

try:
    import grpc

    pb: Any = import_module("edge_client.serving.generated.open_inference_pb2")  # generated, without types
except ImportError as error:  # pragma: no cover -- the extra is installed wherever this is tested
    raise ConfigError(
        "serving over gRPC needs grpcio and protobuf: install the client with its extra, `andon-edge[grpc]`, or say "
        "--grpc-port off"
    ) from error

log = logging.getLogger(__name__)

_SERVICE = "inference.GRPCInferenceService"
_CODES = {
    Kind.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.OVERLOADED: grpc.StatusCode.UNAVAILABLE,
}
_OPEN = ("ServerLive", "ServerReady")  # probes have no token


class GrpcServer:
    """Serves gRPC.

    Args:
        service: What is served.
        host: Address to listen on.
        port: Port; 0 for a free one.
        token: Demanded of every call but health probes; None for none.
        tls: Certificate and key files, or two times None.
        max_bytes: Largest message that is read.
        threads: Most calls at once.

    Raises:
        OSError: The address cannot be listened on.
    """

    def __init__(
        self,
        service: Service,
        *,
        host: str,
        port: int,
        token: str | None,
        tls: tuple[Path | None, Path | None],
        max_bytes: int,
        threads: int,
    ) -> None:
        self._service = service
        self._token = token
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=threads, thread_name_prefix="andon-grpc"),
            options=[
                ("grpc.max_receive_message_length", max_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # a second server on one port is a mistake
            ],
            maximum_concurrent_rpcs=threads,
        )
        handlers = {
            "ServerLive": self._handler("ServerLive", pb.ServerLiveRequest, self._live),
            "ServerReady": self._handler("ServerReady", pb.ServerReadyRequest, self._ready),
            "ModelReady": self._handler("ModelReady", pb.ModelReadyRequest, self._model_ready),
            "ServerMetadata": self._handler("ServerMetadata", pb.ServerMetadataRequest, self._metadata),
            "ModelMetadata": self._handler("ModelMetadata", pb.ModelMetadataRequest, self._model_metadata),
            "ModelInfer": self._handler("ModelInfer", pb.ModelInferRequest, self._infer),
            "RepositoryIndex": self._handler("RepositoryIndex", pb.RepositoryIndexRequest, self._index),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
        where = f"[{host}]" if ":" in host else host
        certificate, key = tls
        try:
            if certificate is not None and key is not None:
                pair = (key.read_bytes(), certificate.read_bytes())
                bound = self._server.add_secure_port(f"{where}:{port}", grpc.ssl_server_credentials([pair]))
            else:
                bound = self._server.add_insecure_port(f"{where}:{port}")
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {where}:{port}: {error}") from error
        self.port = int(bound)
        self.address = f"{where}:{bound}"

    def start(self) -> None:
        """Begin to serve."""
        self._server.start()

    def stop(self, *, seconds: float) -> threading.Event:
        """Accept nothing more; the event is set when all calls have ended, cut off after `seconds`."""
        event: threading.Event = self._server.stop(seconds)
        return event

    def _handler(self, name: str, request: Any, act: Callable[[Any], Any]) -> Any:
        def call(message: Any, context: Any) -> Any:
            started = time.perf_counter()
            self._service.counts.begin()
            code, reason, answer = grpc.StatusCode.OK, "", None
            try:
                if self._token is not None and name not in _OPEN:
                    self._check_token(context)
                answer = act(message)
            except Refusal as refusal:
                code, reason = _CODES.get(refusal.kind, grpc.StatusCode.INTERNAL), refusal.reason
                said = str(refusal)
            except Exception as error:  # the server's boundary
                log.exception("a call failed")
                code, reason = grpc.StatusCode.INTERNAL, "engine"
                said = f"the server failed on this call: {type(error).__name__}"
            finally:
                model = message.model_name if name == "ModelInfer" and code is not grpc.StatusCode.NOT_FOUND else ""
                self._service.counts.end("grpc", model, code.value[0], time.perf_counter() - started, reason)
            if answer is None:
                context.abort(code, said)
            return answer

        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _check_token(self, context: Any) -> None:
        told = dict(context.invocation_metadata()).get("authorization", "")
        kind, _, given = str(told).partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), str(self._token).encode()):
            raise Refusal(
                Kind.UNAUTHORIZED,
                "this server asks for its token: send it as the metadata 'authorization: Bearer TOKEN'",
            )

    # -- the calls

    def _live(self, message: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    def _ready(self, message: Any) -> Any:
        return pb.ServerReadyResponse(ready=self._service.ready)

    def _model_ready(self, message: Any) -> Any:
        try:
            self._service.models.named(message.name).check_version(message.version or None)
        except Refusal:  # what is not there is not ready: a question, answered
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self._service.ready)

    def _metadata(self, message: Any) -> Any:
        return pb.ServerMetadataResponse(**self._service.server())

    def _model_metadata(self, message: Any) -> Any:
        model = self._service.models.named(message.name)
        model.check_version(message.version or None)
        return pb.ModelMetadataResponse(**model.metadata())

    def _index(self, message: Any) -> Any:
        models = [m for m in self._service.index() if not message.ready or m["state"] == "READY"]
        return pb.RepositoryIndexResponse(models=[pb.RepositoryIndexResponse.ModelIndex(**m) for m in models])

    def _infer(self, message: Any) -> Any:
        call, predictions = self._service.infer(
            message.model_name, message.model_version or None, lambda: read_message(message)
        )
        first = predictions[0]
        answer = pb.ModelInferResponse(model_name=message.model_name, model_version=first.engine_id, id=call.id)
        # a parameter is one value here, so that several ids are one text
        answer.parameters["sample_ids"].string_param = ",".join(p.sample_id for p in predictions)
        for name, value in described(first).items():
            kind = {str: "string_param", bool: "bool_param", float: "double_param"}[type(value)]
            setattr(answer.parameters[name], kind, value)
        for output in outputs_of(predictions, call.wanted):
            answer.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
            answer.raw_output_contents.append(bytes(output.binary()))
        return answer


def read_message(message: Any) -> InferCall:
    """Read an inference message.

    Raises:
        Refusal: It cannot be understood.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise bad(f"{len(raw)} raw_input_contents for {len(message.inputs)} inputs: expected one for each")
    inputs: dict[str, Any] = {}
    for i, tensor in enumerate(message.inputs):
        shape = check_input(tensor.name, tensor.datatype, list(tensor.shape), inputs)
        if raw:
            if tensor.HasField("contents"):
                raise bad(f"input {tensor.name!r} has contents beside raw_input_contents: expected one of them")
            inputs[tensor.name] = from_raw(tensor.name, tensor.datatype, shape, memoryview(raw[i]))
        elif tensor.datatype == "UINT8":
            inputs[tensor.name] = uint8_from_json(list(tensor.contents.uint_contents), shape, tensor.name)
        else:
            inputs[tensor.name] = _bytes(tensor, shape)
    wanted: list[str] = []
    for output in message.outputs:
        wanted.append(check_output(output.name, wanted))
    return assemble(
        inputs,
        _parameters(message.parameters),
        tuple(Wanted(name=name, binary=True) for name in wanted or ALL_OUTPUTS),
        check_text(message.id, "id", 1024),
    )


def _bytes(tensor: Any, shape: tuple[int, ...]) -> list[Any]:
    values = list(tensor.contents.bytes_contents)
    if len(values) != shape[0]:
        raise bad(f"input {tensor.name!r} of shape {list(shape)} has {len(values)} elements: expected {shape[0]}")
    return as_texts(values) if tensor.name == "part_id" else values


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in given.items():
        kind = value.WhichOneof("parameter_choice")
        if kind is None:
            raise bad(f"parameter {name!r:.60} has no value")
        read[name] = getattr(value, kind)
    return read
