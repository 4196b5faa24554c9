"""``GET /metrics`` on one thread: a few lines of HTTP, for a client inside an application and for ``andon-edge run``.

1. One connection at a time, each with a total deadline and a bounded head: who trickles bytes is cut off, and holds up
   the next scrape for no longer than that.
2. Whatever goes wrong costs the scrape, never the client.
"""

import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from edge_client.contract.errors import ConfigError
from edge_client.listening import Listener, read_head
from edge_client.metrics import CONTENT_TYPE

log = logging.getLogger("edge_client.metrics")

_MOST_HEAD_BYTES = 16_384
_SECONDS = 3.0  # for one connection, whole


class MetricsEndpoint:
    """Serves the text that `read` returns.

    Args:
        read: Returns Prometheus text; called for each scrape.
        host: Address to listen on.
        port: Its port; 0 lets the system choose (see `port`).

    Raises:
        ConfigError: The port cannot be had.
    """

    def __init__(self, read: Callable[[], str], *, host: str = "127.0.0.1", port: int) -> None:
        self._read = read
        try:
            self._listener = Listener(self._take, host=host, port=port, name="andon-metrics", log=log)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"metrics.port {port} on {host} cannot be used: {error}; choose another port, or set it to 0 for none"
            ) from error
        self.port = self._listener.port

    def start(self) -> None:
        """Start the thread."""
        self._listener.start()

    def stop(self, *, timeout: float = 2 * _SECONDS) -> None:
        """End the thread and close the port."""
        self._listener.stop(timeout=timeout)

    def _take(self, connection: socket.socket) -> None:
        with connection:
            self._answer(connection, time.monotonic() + _SECONDS)

    def _answer(self, connection: socket.socket, until: float) -> None:
        head = read_head(connection, most_bytes=_MOST_HEAD_BYTES, seconds=_SECONDS)
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _send(connection, until, b"400 Bad Request", b"expected GET /metrics HTTP/1.1\n")
        method, path = words[0], words[1].split(b"?", 1)[0]
        if path != b"/metrics":
            return _send(connection, until, b"404 Not Found", b"the metrics are at /metrics\n")
        if method not in (b"GET", b"HEAD"):
            return _send(connection, until, b"405 Method Not Allowed", b"expected GET\n", b"Allow: GET, HEAD\r\n")
        try:
            body = self._read().encode()
        except Exception as error:  # noqa: BLE001 -- rule 2
            log.warning("the metrics could not be read: %r", error)
            return _send(connection, until, b"500 Internal Server Error", b"see the client's log\n")
        _send(connection, until, b"200 OK", body, b"", kind=CONTENT_TYPE.encode(), without_body=method == b"HEAD")


def _send(
    connection: socket.socket,
    until: float,
    status: bytes,
    body: bytes,
    headers: bytes = b"",
    *,
    kind: bytes = b"text/plain; charset=utf-8",
    without_body: bool = False,
) -> None:
    connection.settimeout(max(0.001, until - time.monotonic()))  # of sendall as a whole
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n"
    connection.sendall(head % (status, kind, len(body), headers) + (b"" if without_body else body))
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
