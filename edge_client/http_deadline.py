"""A deadline for an HTTP request as a whole: a socket's time-out is for each wait, and who trickles would never end."""

from __future__ import annotations

import http.client
import io
import math
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(slots=True)
class Deadline:
    """When a request has to be done.

    Attributes:
        at: By the clock; may be moved once the head of the answer says how much comes.
        longest_wait: Seconds in which something has to come, also before then.
        clock: Seconds that only go on.
    """

    at: float
    longest_wait: float = math.inf
    clock: Callable[[], float] = time.monotonic

    def next_wait(self) -> float:
        """Return how many seconds may be waited.

        Raises:
            TimeoutError: None.
        """
        left = self.at - self.clock()
        if left <= 0:
            raise TimeoutError("not answered in time")
        return min(left, self.longest_wait)


def ask_until(
    deadline: Deadline,
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    pieces: Sequence[Any] = (),
) -> http.client.HTTPResponse:
    """Send a request and read the head of its answer; what is read of the answer later keeps to the deadline as well.

    Args:
        deadline: For all of it.
        connection: Open or not.
        method: Such as ``POST``.
        path: With its query.
        headers: With the body's length, if there is one.
        pieces: Of the body.

    Raises:
        TimeoutError: It was not done by then.
        OSError, http.client.HTTPException: As `http.client` does.
    """
    if connection.sock is None:
        connection.timeout = deadline.next_wait()
        connection.connect()
    wire: socket.socket = connection.sock

    def sent() -> Iterator[Any]:
        for piece in pieces:
            wire.settimeout(deadline.next_wait())
            yield piece

    wire.settimeout(deadline.next_wait())
    connection.response_class = partial(_Answer, deadline=deadline)  # type: ignore[assignment]  # it is called alone
    connection.request(method, path, body=sent() if pieces else None, headers=headers)
    return connection.getresponse()


class _Answer(http.client.HTTPResponse):
    """An answer that is read by a deadline."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: Deadline, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Until(self.fp.detach(), sock, deadline))


class _Until(io.RawIOBase):
    """A socket's stream, each wait of which ends at the deadline."""

    def __init__(self, stream: io.RawIOBase, wire: socket.socket, deadline: Deadline) -> None:
        self._stream, self._wire, self._deadline = stream, wire, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._wire.settimeout(self._deadline.next_wait())
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()
