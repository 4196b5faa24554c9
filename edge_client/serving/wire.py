"""Bytes in and out of one connection, in bounded time.

A plain socket blocks in the kernel with a time limit of its own (SO_RCVTIMEO), so that a whole body is one call
(MSG_WAITALL) and no poll precedes a read; a TLS socket cannot do that and is asked again and again. Either way a wait
is cut into ticks, between which deadlines are looked at.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Sequence

from edge_client.contract.errors import AndonError
from edge_client.serving.answer import Buffer

_TICK = 1.0
_TIMEVAL = struct.pack("ll", int(_TICK), 0)


class Gone(AndonError):
    """The client has closed the connection, or it broke."""


class TooSlow(AndonError):
    """The client did not send, or take, what was due in time."""


class Wire:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._plain = not isinstance(sock, ssl.SSLSocket)
        if self._plain:
            sock.setblocking(True)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL)
        else:
            sock.settimeout(_TICK)

    def read(self, view: memoryview, deadline: float) -> int:
        """Read what is there into `view`, waiting for the first byte.

        Args:
            view: Not empty.
            deadline: On the monotonic clock.

        Returns:
            How much; 0 when the client will send nothing more.

        Raises:
            TooSlow: Nothing came before the deadline.
            Gone: The connection broke.
        """
        while True:
            try:
                return self._socket.recv_into(view)
            except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
                if time.monotonic() >= deadline:
                    raise TooSlow from None
            except ssl.SSLEOFError:
                return 0
            except OSError as error:
                raise Gone(str(error)) from None

    def fill(self, view: memoryview, deadline: float) -> None:
        """Read until `view` is full.

        Raises:
            TooSlow: It was not full at the deadline.
            Gone: The client ended, or the connection broke, before.
        """
        at = 0
        flags = socket.MSG_WAITALL if self._plain else 0
        while at < len(view):
            try:
                count = self._socket.recv_into(view[at:], 0, flags)
            except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
                count = -1
            except OSError as error:
                raise Gone(str(error)) from None
            if count == 0:
                raise Gone("the client ended in the middle of a body")
            at += max(0, count)
            if at < len(view) and time.monotonic() >= deadline:
                raise TooSlow

    def write(self, pieces: Sequence[Buffer], deadline: float) -> None:
        """Send all pieces.

        Raises:
            TooSlow: The client did not take them before the deadline.
            Gone: It has closed the connection, or that broke.
        """
        left = sum(map(len, pieces))
        if not self._plain:
            pieces = [b"".join(pieces)]
        while True:
            try:
                sent = self._socket.sendmsg(pieces) if self._plain else self._socket.send(pieces[0])
            except (BlockingIOError, TimeoutError, ssl.SSLWantWriteError):
                sent = 0
            except OSError as error:
                raise Gone(str(error)) from None
            left -= sent
            if not left:
                return
            if time.monotonic() >= deadline:
                raise TooSlow
            pieces = _after(pieces, sent)

    def end_reading(self) -> None:
        """Let a wait for the next request end as if the client had closed. For another thread to call."""
        try:
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # it is closed already

    def close(self, *, linger: bool = False) -> None:
        """Close; with `linger`, first let the client read what was sent although it is still sending."""
        try:
            if linger and self._plain:
                self._socket.shutdown(socket.SHUT_WR)
                end = time.monotonic() + _TICK
                while time.monotonic() < end and self._socket.recv(1 << 16):
                    pass
        except OSError:
            pass
        finally:
            self._socket.close()


def _after(pieces: Sequence[Buffer], sent: int) -> list[Buffer]:
    rest: list[Buffer] = []
    for piece in pieces:
        if sent >= len(piece):
            sent -= len(piece)
        else:
            rest.append(memoryview(piece)[sent:])
            sent = 0
    return rest
