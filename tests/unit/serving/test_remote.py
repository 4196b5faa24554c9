"""`RemoteClient` beside servers that misbehave; beside real ones it is in the integration tests."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge_client import remote
from edge_client.remote import NoServer, RemoteClient, ServerRefused

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
FRAME = np.zeros((4, 4, 3), dtype=np.uint8)


@contextlib.contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve each connection on loopback, on a thread of its own."""
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stopping.set()
        thread.join()


def take_request(connection: socket.socket) -> None:
    """Read a request whole: what a server leaves unread when it closes, the system tells the client as a reset."""
    came = b""
    while (end := came.find(b"\r\n\r\n")) < 0 or len(came) < end + 4 + length_of(came):
        part = connection.recv(65_536)
        if not part:
            raise ConnectionError("the client ended")
        came += part


def length_of(head: bytes) -> int:
    found = re.search(rb"Content-Length: (\d+)", head)
    assert found is not None
    return int(found[1])


def says(text: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(text)

    return answer


def trickles(head: bytes) -> Callable[[socket.socket], None]:
    """Send a byte whenever the other side might lose patience, and never end."""

    def answer(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(head)
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)  # well within any patience

    return answer


TRICKLED = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", id="body"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: ", id="head"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n", id="chunk"),
    pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", id="until it closes"),
]


@pytest.mark.parametrize("head", TRICKLED)
def test_a_server_that_trickles_holds_a_call_no_longer_than_its_time(head: bytes) -> None:
    with server(trickles(head)) as url, RemoteClient([url], model="cells", timeout=0.5, attempt_seconds=0.2) as client:
        begun = time.monotonic()
        with pytest.raises(NoServer, match=r"none of 1 servers answered in 0\.5 s"):
            client.predict(FRAME)
        assert time.monotonic() - begun < 5  # its trickle would last for ever
        assert client.status()["failures"] >= 1


def test_the_next_server_answers_when_the_first_one_trickles() -> None:
    with (
        server(trickles(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")) as first,
        server(says(OK)) as second,
        RemoteClient([first, second], model="cells", timeout=10, attempt_seconds=0.2) as client,
    ):
        assert client.report_outcome("part-1", "ok")
        assert (client.status()["failures"], client.status()["elsewhere"]) == (1, 1)


def test_a_kept_connection_that_was_closed_is_no_failure() -> None:
    with server(says(OK)) as url, RemoteClient([url], model="cells", timeout=5) as client:
        assert client.report_outcome("part-1", "ok")
        time.sleep(0.05)  # it closes, though it did not say so: let that arrive
        assert client.report_outcome("part-2", "ok")
        assert client.status()["failures"] == 0


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_MOST_ANSWER", 1000)
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)
    with (
        server(says(long)) as url,
        RemoteClient([url], model="cells", timeout=0.3) as client,
        pytest.raises(NoServer, match="its answer has more than 1000 bytes"),
    ):
        client.predict(FRAME)


def test_an_answer_that_is_cut_off_is_no_answer() -> None:
    with (
        server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")) as url,
        RemoteClient([url], model="cells", timeout=0.3) as client,
        pytest.raises(NoServer, match="its answer was cut off"),
    ):
        client.predict(FRAME)


@pytest.mark.parametrize("text", [OK, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"])
def test_an_answer_that_is_none_is_told(text: bytes) -> None:
    with (
        server(says(text)) as url,
        RemoteClient([url], model="cells", timeout=5) as client,
        pytest.raises(ServerRefused, match="not as the protocol says"),
    ):
        client.predict(FRAME)


def test_nobody_there_is_told_with_the_last_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (
        RemoteClient([f"http://127.0.0.1:{port}"], model="cells", timeout=0.2) as client,
        pytest.raises(NoServer, match="refused"),
    ):
        client.predict(FRAME)
