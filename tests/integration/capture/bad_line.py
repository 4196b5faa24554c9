"""Servers that no one should have to talk to: they trickle, stop, or say nothing; with or without TLS."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

WAYS = ("takes a byte a second", "says nothing", "trickles its headers", "trickles its body", "stops in the body")
_BODY = 100_000


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's bucket")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "ca.pem", folder / "key.pem"


@dataclass
class BadServer:
    """Listens on loopback; `way` may be changed while it runs. It ends with `running`."""

    way: str
    context: ssl.SSLContext | None = None
    requests: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def serve(self) -> None:
        self.socket.settimeout(0.1)
        while not self.stop.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self.socket.accept()
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()
        self.socket.close()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection:
                self.requests += 1
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {_BODY}\r\n\r\n".encode()
        if self.way == "takes a byte a second":
            while not self.stop.wait(1.0):
                if not connection.recv(1):
                    return
        if self.way == "says nothing":
            while not self.stop.wait(0.05):
                connection.recv(1 << 20)
        if self.way == "takes all":
            self._take_all(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        connection.recv(1 << 16)
        if self.way == "answers":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if self.way == "trickles its headers":
            self._trickle(connection, head)
        connection.sendall(head + b"x" * 10)
        if self.way == "trickles its body":
            self._trickle(connection, b"x" * _BODY)
        if self.way == "stops in the body":
            self.stop.wait()

    def _take_all(self, connection: socket.socket) -> None:
        taken = b""
        while b"\r\n\r\n" not in taken:
            taken += connection.recv(1 << 16)
        head, _, body = taken.partition(b"\r\n\r\n")
        left = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) - len(body)
        while left > 0 and (piece := connection.recv(1 << 16)):
            left -= len(piece)

    def _trickle(self, connection: socket.socket, data: bytes) -> None:
        for byte in data:
            if self.stop.wait(1.0):
                return
            connection.sendall(bytes([byte]))


@contextlib.contextmanager
def running(way: str, certificate: tuple[Path, Path] | None = None) -> Iterator[BadServer]:
    """Serve in a thread."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    server = BadServer(way, context)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        thread.join(5)
