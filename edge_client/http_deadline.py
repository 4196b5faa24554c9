"""A deadline for an HTTP request as a whole: a socket's time-out is for each wait, and who trickles would never end."""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any


def ask_until(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    pieces: Iterable[Any],
    headers: dict[str, str],
    *,
    deadline: float,
) -> http.client.HTTPResponse:
    """Send a request and read the head of its answer; what is read of the answer later keeps to the deadline as well.

    Args:
        connection: Open or not.
        method: Such as ``POST``.
        path: With its query.
        pieces: Of the body.
        headers: With the body's length.
        deadline: On the clock of `time.monotonic`.

    Raises:
        TimeoutError: It was not done by then.
        OSError, http.client.HTTPException: As `http.client` does.
    """
    if connection.sock is None:
        connection.timeout = _left(deadline)
        connection.connect()
    wire: socket.socket = connection.sock

    def sent() -> Iterator[Any]:
        for piece in pieces:
            wire.settimeout(_left(deadline))
            yield piece

    wire.settimeout(_left(deadline))
    connection.response_class = partial(_Answer, deadline=deadline)  # type: ignore[assignment]  # it is called alone
    connection.request(method, path, body=sent(), headers=headers)
    return connection.getresponse()


class _Answer(http.client.HTTPResponse):
    """An answer that is read by a deadline."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Until(self.fp.detach(), sock, deadline))


class _Until(io.RawIOBase):
    """A socket's stream, each wait of which ends at the deadline."""

    def __init__(self, stream: io.RawIOBase, wire: socket.socket, deadline: float) -> None:
        self._stream, self._wire, self._deadline = stream, wire, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._wire.settimeout(_left(self._deadline))
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("not answered in time")
    return left
