"""A request to a bucket that trickles, stops or says nothing is given up: it never hangs, with or without TLS.

The bounds are generous: what is checked is that a request ends at all, and says why.
"""

import os
import socket
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from botocore.exceptions import ReadTimeoutError

from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.errors import Unavailable
from edge_client.contract.pace import Pace
from edge_client.uplink.shared_link import SharedLink
from tests.integration.capture.bad_line import WAYS, running, self_signed

QUICK = Pace(stall_seconds=0.4, least_bytes_per_second=10_000)
BIG = bytes(8_000_000)  # more than the kernel's buffers take


def bucket_at(port: int, ca: Path | None, pace: Pace = QUICK) -> S3Bucket:
    settings = S3Settings(
        bucket="andon",
        endpoint_url=f"{'https' if ca else 'http'}://127.0.0.1:{port}",
        access_key_id="AK",
        secret_access_key="not one",
        ca_bundle=str(ca) if ca else None,
    )
    return S3Bucket.connect(settings, attempts=1, pace=pace)


@pytest.mark.parametrize(
    ("way", "tls"), [*((way, False) for way in WAYS), ("takes a byte a second", True), ("trickles its body", True)]
)
def test_a_request_that_stalls_is_given_up(tmp_path: Path, way: str, tls: bool):
    certificate = self_signed(tmp_path) if tls else None
    with running(way, certificate) as server:
        bucket = bucket_at(server.port, certificate[0] if certificate else None)
        asks = (
            partial(bucket.get, "releases/metadata/timestamp.json", max_bytes=1 << 20)
            if "body" in way
            else partial(bucket.put, "inbox/line-1/1-1/0.tar", BIG)
        )
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="bytes moved in") as error:
            asks()
        assert time.monotonic() - begun < 20
        assert "andon" in str(error.value) or "releases" in str(error.value)
        assert server.requests == 1


def test_a_handshake_that_stalls_is_given_up(tmp_path: Path):
    """The server speaks no TLS and says nothing: what hangs is the handshake."""
    ca, _ = self_signed(tmp_path)
    with running("says nothing") as server, pytest.raises(Unavailable, match="bytes moved in"):
        bucket_at(server.port, ca).put("inbox/line-1/1-1/0.tar", b"x")


def test_requests_given_up_leave_no_socket_behind(tmp_path: Path):
    with running("trickles its headers") as server:
        bucket = bucket_at(server.port, None)
        for _ in range(2):
            with pytest.raises(Unavailable):
                bucket.put("inbox/line-1/1-1/0.tar", b"x")
        open_sockets = [p for p in Path("/proc/self/fd").iterdir() if _reaches(p, server.port)]
        assert open_sockets == []


def _reaches(descriptor: Path, port: int) -> bool:
    try:
        other = socket.socket(fileno=os.dup(int(descriptor.name)))
    except OSError:
        return False
    try:
        return bool(other.getpeername()[1] == port)
    except (OSError, IndexError, TypeError):
        return False
    finally:
        other.close()


def test_a_call_of_the_client_itself_keeps_a_read_time_out():
    """What uses boto3's client beside the bucket's calls is not watched."""
    with running("says nothing") as server, pytest.raises(ReadTimeoutError):
        bucket_at(server.port, None).client.head_bucket(Bucket="andon")


def test_a_slow_line_that_keeps_to_the_least_rate_gets_through(tmp_path: Path):
    """A body that lies in the kernel's buffers for longer than the stall time is not stalled while it moves."""
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
                while len(received) < 1_000_000:
                    time.sleep(0.05)
                    received.extend(connection.recv(16_000))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        pace = Pace(stall_seconds=1.5, least_bytes_per_second=10_000)  # a server may think about `Expect` for a second
        bucket_at(listener.getsockname()[1], None, pace).put("inbox/line-1/1-1/0.tar", bytes(1_000_000))
        thread.join(10)
    assert len(received) >= 1_000_000


def test_a_bandwidth_limit_rests_between_pieces_and_is_not_taken_for_a_stall(tmp_path: Path):
    """A rest is longer than the time in which something has to move."""
    link = SharedLink(tmp_path / "uplink", bytes_per_second=5_000)
    pace = Pace(stall_seconds=1.2, least_bytes_per_second=2_000)
    with running("takes all") as server:
        bucket = bucket_at(server.port, None, pace).throttled(lambda count: link.take(count, day=1))
        begun = time.monotonic()
        bucket.put("inbox/line-1/1-1/0.tar", bytes(20_000))
        seconds = time.monotonic() - begun
    used = link.used_on(1)
    assert 20_000 < used < 22_000
    assert seconds >= 16_384 / 5_000 - 0.5
