"""What requests weigh on the wire: bytes of both directions, counted by a relay before a real SeaweedFS, and of TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from edge_client.contract.bucket import S3Bucket
from edge_client.contract.errors import NotFound
from tests.integration.capture.weed import running_weed

_OBJECT = b"x" * 1000
_SETTLED_SECONDS = 0.05


class Relay:
    """Forwards connections on loopback and counts what passes."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lock = threading.Lock()
        self._passed = 0
        self._quiet = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def during(self, do: Callable[[], object]) -> int:
        """Bytes that passed while something was done, and until nothing passed any more."""
        before = self._passed
        do()
        while True:
            self._quiet.clear()
            if not self._quiet.wait(_SETTLED_SECONDS):
                return self._passed - before

    def close(self) -> None:
        """Accept no more."""
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                mine, _ = self._socket.accept()
                theirs = socket.create_connection(("127.0.0.1", self._to))
                for a, b in ((mine, theirs), (theirs, mine)):
                    threading.Thread(target=self._forward, args=(a, b), daemon=True).start()

    def _forward(self, a: socket.socket, b: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := a.recv(65_536):
                with self._lock:
                    self._passed += len(data)
                self._quiet.set()
                b.sendall(data)
        with contextlib.suppress(OSError):
            b.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relayed_bucket() -> Iterator[tuple[S3Bucket, Relay]]:
    """A bucket on a new SeaweedFS, and the relay on the way to it."""
    memory = Path("/dev/shm")
    folder = tempfile.TemporaryDirectory(prefix="andon-wire-", dir=memory if memory.is_dir() else None)
    with folder as name, running_weed(Path(name)) as weed:
        relay = Relay(weed.ports["s3"])
        try:
            yield S3Bucket.connect(replace(weed.settings, endpoint_url=f"http://127.0.0.1:{relay.port}")), relay
        finally:
            relay.close()


def header_bytes(times: int) -> Mapping[str, list[float]]:
    """Kind of request → bytes beside its object, of each of so many requests on a kept connection."""
    found: dict[str, list[float]] = {}
    with relayed_bucket() as (bucket, relay):
        key = "releases/metadata/timestamp.json"
        bucket.put(key, _OBJECT)
        known = bucket.get_changed(key, etag=None, max_bytes=10_000)
        assert known is not None

        def missing() -> None:
            with contextlib.suppress(NotFound):
                bucket.get("releases/metadata/2.root.json", max_bytes=10_000)

        kinds: dict[str, tuple[Callable[[], object], int]] = {
            "put": (lambda: bucket.put("fleet/line-0001/status.json", _OBJECT), len(_OBJECT)),
            "get": (lambda: bucket.get(key, max_bytes=10_000), len(_OBJECT)),
            "unchanged": (lambda: bucket.get_changed(key, etag=known.etag, max_bytes=10_000), 0),
            "missing": (missing, 0),
        }
        for kind, (do, size) in kinds.items():
            found[kind] = [relay.during(do) - size for _ in range(times)]
        found["list"] = [relay.during(lambda: bucket.page("nothing/", after="")) for _ in range(times)]
    return found


def handshake_bytes() -> int:
    """Bytes of a TLS 1.3 handshake with a chain of two RSA certificates, as public services have them."""
    with tempfile.TemporaryDirectory() as folder:
        chain, key = _chain(Path(folder))
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(chain, key)
        client = ssl.create_default_context()
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE  # nothing is verified, bytes are counted
        up, down = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
        ends = [
            (client.wrap_bio(*up, server_hostname="bucket"), up),
            (server.wrap_bio(*down, server_side=True), down),
        ]
        moved, done = 0, [False, False]
        while not all(done):
            for i, (end, (_, out)) in enumerate(ends):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                    done[i] = True
                data = out.read()
                moved += len(data)
                ends[1 - i][1][0].write(data)
    return moved


def _chain(folder: Path) -> tuple[Path, Path]:
    """A leaf and its issuer in one file, and the leaf's key."""
    now = datetime.now(UTC)
    keys = [rsa.generate_private_key(65_537, 2048) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"bucket {i}")]) for i in range(2)]
    parts = []
    for i in range(2):
        made = x509.CertificateBuilder().subject_name(names[i]).issuer_name(names[1]).public_key(keys[i].public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now)
        made = made.not_valid_after(now + timedelta(days=1))
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("bucket")]), critical=False)
        parts.append(made.sign(keys[1], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(parts))
    key.write_bytes(
        keys[0].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return chain, key
