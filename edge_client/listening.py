"""A port that is listened on: one thread takes connections and hands them on, until it is stopped.

1. Whatever goes wrong with a connection costs that connection: it is closed, and the next one is taken.
2. A process that has no file descriptor left rests a moment and tries again.
3. A request's head is bounded and has a deadline as a whole: who trickles bytes is cut off.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable

_LOOK_SECONDS = 0.5  # how soon `stop` is seen where the system does not wake the thread
_BACKLOG = 16


class Listener:
    """Takes connections on a thread of its own.

    Args:
        take: Gets each connection, on that thread, and closes it or hands it on.
        host: Address to listen on.
        port: Its port; 0 lets the system choose (see `port`).
        name: Of the thread.
        log: Where it is said that a connection failed.

    Raises:
        OSError: The port cannot be had.
        OverflowError: It is no port.
    """

    def __init__(
        self, take: Callable[[socket.socket], None], *, host: str, port: int, name: str, log: logging.Logger
    ) -> None:
        self._take, self._log = take, log
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._socket.settimeout(_LOOK_SECONDS)
        self.port = int(self._socket.getsockname()[1])
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin to take connections."""
        self._thread.start()

    def stop(self, *, timeout: float = 2 * _LOOK_SECONDS) -> None:
        """Take no more of them and close the port; what was handed on ends by itself."""
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread where the system allows it
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._socket.close()

    def _work(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:  # closed, or rule 2
                if self.stopping.wait(_LOOK_SECONDS):
                    return
                self._log.warning("no connection could be taken: %s", error)
                continue
            try:
                self._take(connection)
            except Exception as error:  # noqa: BLE001 -- rule 1
                connection.close()
                self._log.info("a connection failed: %r", error)


def read_head(connection: socket.socket, *, most_bytes: int, seconds: float) -> bytes:
    """Read a request up to its empty line; what follows may be in it (rule 3).

    Raises:
        ValueError: It is too long, or was not whole in time.
    """
    head, until = b"", time.monotonic() + seconds
    while b"\r\n\r\n" not in head:
        if len(head) > most_bytes:
            raise ValueError(f"a request head of more than {most_bytes} bytes")
        connection.settimeout(max(0.001, until - time.monotonic()))
        part = connection.recv(4096)
        if not part or time.monotonic() >= until:
            raise ValueError(f"a request that was not whole within {seconds:g} s")
        head += part
    return head
