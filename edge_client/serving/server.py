"""The server, put together: a client for each configuration, slots before them, HTTP and gRPC before those."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.client import Client
from edge_client.serving.access import check_exposure, read_token, tls_context
from edge_client.serving.batching import Batching
from edge_client.serving.counts import ServerCounts
from edge_client.serving.http_reader import HttpLimits
from edge_client.serving.http_server import HttpServer
from edge_client.serving.models import MAX_PIXELS, Model, Models
from edge_client.serving.service import Service
from edge_client.serving.slots import Slots
from edge_client.software.sockets import HTTP

if TYPE_CHECKING:
    from edge_client.serving.grpc_server import GrpcServer

# Python hands its lock to a waiting thread after so long at the latest. Requests need it for tens of microseconds at a
# time; the default of 5 ms would let background work (encoding a captured frame) hold up an answer by that much.
_SWITCH_SECONDS = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """How to serve.

    Attributes:
        host: Address to listen on.
        port: Of HTTP; 0 for a free one.
        grpc_port: Of gRPC; 0 for a free one, None for no gRPC.
        token_file: Holds the token that requests must bring.
        tls_certificate: PEM file of the server's certificate chain.
        tls_key: PEM file of its key.
        insecure: Listen beyond this machine without a token.
        slots: Requests that run at once.
        queue: Requests that may wait.
        deadline_seconds: Longest wait.
        max_batch: Frames of one run; 1 for no gathering.
        max_wait_ms: How long a frame waits for company.
        connections: HTTP connections at once.
        max_pixels: Largest width x height of a frame.
        limits: Of one HTTP request.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    token_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False
    slots: int = 1
    queue: int = 64
    deadline_seconds: float = 5.0
    max_batch: int = 1
    max_wait_ms: float = 2.0
    connections: int = 64
    max_pixels: int = MAX_PIXELS
    limits: HttpLimits = field(default_factory=HttpLimits)


class Server:
    """Serves clients until it is stopped. It does not close them: who opened them does.

    Args:
        clients: One for each inspection.
        settings: How.
        sockets: Listening sockets to share, by name, instead of addresses of its own.

    Raises:
        ConfigError: The settings contradict one another, or two clients are for one inspection.
        OSError: An address cannot be listened on.
    """

    def __init__(
        self, clients: Sequence[Client], settings: ServeSettings, sockets: Mapping[str, socket.socket] | None = None
    ) -> None:
        listener = (sockets or {}).get(HTTP)
        token = read_token(settings.token_file) if settings.token_file is not None else None
        tls = tls_context(settings.tls_certificate, settings.tls_key)
        host = settings.host if listener is None else str(listener.getsockname()[0])
        check_exposure(host, token=token, insecure=settings.insecure)
        gathers = settings.max_batch > 1
        self.counts = ServerCounts()
        # who waits for company does not run yet, so that more may be admitted
        slots = Slots(
            settings.slots * max(1, settings.max_batch),
            queue=settings.queue,
            deadline_seconds=settings.deadline_seconds,
        )
        models = Models(
            Model(c, predict=_gathering(c, settings) if gathers else None, max_pixels=settings.max_pixels)
            for c in clients
        )
        self.service = Service(models, slots, self.counts)
        self.grpc = self._open_grpc(settings, token)
        self.http = HttpServer(
            self.service,
            host=settings.host,
            port=settings.port,
            token=token,
            tls=tls,
            limits=settings.limits,
            connections=settings.connections,
            listener=listener,
        )

    def start(self) -> None:
        """Begin to serve."""
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
        self.http.start()
        if self.grpc is not None:
            self.grpc.start()

    def healthy(self, *, longest_seconds: float) -> bool:
        """Tell whether connections are accepted and no request has run for longer than `longest_seconds`."""
        return self.http.accepts and self.service.slots.longest() <= longest_seconds

    def stop(self, *, seconds: float = 10.0, handing_over: bool = False) -> None:
        """Accept nothing more, and answer what has come, in at most `seconds`; then refuse what still waits.

        Args:
            seconds: Most that it may take.
            handing_over: Another server waits for this one's place: nobody need look elsewhere.
        """
        self.service.ending = not handing_over
        ended = self.grpc.stop(seconds=seconds) if self.grpc is not None else None
        self.http.stop(seconds=seconds)
        if ended is not None:
            ended.wait(seconds)
        self.service.slots.close()

    def _open_grpc(self, settings: ServeSettings, token: str | None) -> GrpcServer | None:
        if settings.grpc_port is None:
            return None
        from edge_client.serving.grpc_server import GrpcServer

        return GrpcServer(
            self.service,
            host=settings.host,
            port=settings.grpc_port,
            token=token,
            tls=(settings.tls_certificate, settings.tls_key),
            max_bytes=settings.limits.body_bytes,
            threads=settings.connections,
        )


def _gathering(client: Client, settings: ServeSettings) -> Any:
    return Batching(
        client.predict,
        max_batch=settings.max_batch,
        max_wait_seconds=settings.max_wait_ms / 1e3,
        runners=settings.slots,
    ).predict
