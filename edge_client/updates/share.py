"""Serving release files to other devices on the local network: what a neighbour or a mirror has, read-only.

1. GET and HEAD of whole files or one range, by the keys of the bucket. What a key stands for is decided by who makes
   the server; nothing else is reachable.
2. Bounded: so many connections at once, each with a deadline for its request and a least rate for its answer; a limit
   of bytes a second over all of them. Who comes when all are taken is told to come again.
3. Nobody is asked who they are: what is served is signed, and found only by who knows its digest. It is on by the
   operator's choice alone.
4. Whatever goes wrong costs that connection and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from edge_client.contract.errors import ConfigError
from edge_client.listening import Listener, read_head

log = logging.getLogger("edge_client.share")

CONNECTIONS = 8
_MOST_HEAD_BYTES = 8192
_HEAD_SECONDS = 5.0
_ANSWER_SECONDS = 20.0  # and a second more for every _LEAST_RATE bytes
_LEAST_RATE = 10_000
_PIECE_BYTES = 65_536
_BUSY_SECONDS = 0.5  # for whom there is no room
_RANGE = re.compile(rb"bytes=(\d{1,15})-(\d{0,15})")


class ShareServer:
    """Serves the files that `resolve` finds.

    Args:
        resolve: Takes a key such as ``releases/targets/engines/cells/<digest>.e1.onnx``; returns the file to serve, or
            None. Called on the server's threads.
        host: Address to listen on.
        port: Its port; 0 lets the system choose (see `port`).
        bytes_per_second: Most bytes a second over all connections; 0 is no limit.

    Raises:
        ConfigError: The port cannot be had.
    """

    def __init__(
        self, resolve: Callable[[str], Path | None], *, host: str, port: int, bytes_per_second: int = 0
    ) -> None:
        self._resolve = resolve
        try:
            self._listener = Listener(self._take, host=host, port=port, name="andon-share", log=log)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"port {port} on {host} cannot be used for sharing releases: {error}; choose another one"
            ) from error
        self.port = self._listener.port
        self.bytes_sent = 0
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._rate = _Rate(bytes_per_second)

    def start(self) -> None:
        """Start the thread that takes connections."""
        self._listener.start()

    def stop(self) -> None:
        """Take no more connections; those under way end by themselves."""
        self._listener.stop()

    def _take(self, connection: socket.socket) -> None:
        if not self._free.acquire(blocking=False):
            with contextlib.suppress(OSError), connection:
                connection.settimeout(_BUSY_SECONDS)
                connection.recv(_MOST_HEAD_BYTES)  # what is not read makes the system drop the answer
                connection.sendall(_head(b"503 Service Unavailable", 0, b"Retry-After: 10\r\n"))
            return
        try:
            threading.Thread(target=self._serve, args=(connection,), name="andon-share-one", daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            self._free.release()
            raise

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._answer(connection)
        except Exception as error:  # noqa: BLE001 -- rule 4
            log.info("sharing releases: %r", error)
        finally:
            self._free.release()

    def _answer(self, connection: socket.socket) -> None:
        lines = read_head(connection, most_bytes=_MOST_HEAD_BYTES, seconds=_HEAD_SECONDS).split(b"\r\n")
        words = lines[0].split(b" ")
        connection.settimeout(_HEAD_SECONDS)
        if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
            connection.sendall(_head(b"405 Method Not Allowed", 0, b"Allow: GET, HEAD\r\n"))
            return
        path = self._resolve(unquote(words[1].partition(b"?")[0].decode("ascii", "replace")).lstrip("/"))
        file = None if path is None else _open_plain(path)
        if file is None:
            connection.sendall(_head(b"404 Not Found", 0))
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            asked = next((line for line in lines[1:] if line.lower().startswith(b"range:")), b"")
            start, end = _asked(asked, size)
            if start >= size > 0 or end <= start < size:
                connection.sendall(_head(b"416 Range Not Satisfiable", 0, b"Content-Range: bytes */%d\r\n" % size))
                return
            about = b"Accept-Ranges: bytes\r\n"
            if asked:
                about += b"Content-Range: bytes %d-%d/%d\r\n" % (start, end - 1, size)
            connection.sendall(_head(b"206 Partial Content" if asked else b"200 OK", end - start, about))
            if words[0] == b"GET":
                self._send(connection, file, start, end)

    def _send(self, connection: socket.socket, file: BinaryIO, start: int, end: int) -> None:
        until = time.monotonic() + _ANSWER_SECONDS + (end - start) / _LEAST_RATE
        file.seek(start)
        left = end - start
        while left and not self._listener.stopping.is_set() and (piece := file.read(min(_PIECE_BYTES, left))):
            until += self._rate.rest(len(piece), self._listener.stopping)  # our own rest is not the other side's fault
            connection.settimeout(max(0.001, until - time.monotonic()))
            connection.sendall(piece)
            left -= len(piece)
            self.bytes_sent += len(piece)


class _Rate:
    """A limit of bytes a second that several threads keep together."""

    def __init__(self, bytes_per_second: int) -> None:
        self._most = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    def rest(self, count: int, stop: threading.Event) -> float:
        """Rest until so many bytes may be sent; return how long that took."""
        if not self._most:
            return 0.0
        begun = time.monotonic()
        with self._lock:
            due = max(self._free_at, begun)
            self._free_at = due + count / self._most
        stop.wait(due - begun)
        return time.monotonic() - begun


def _head(status: bytes, length: int, more: bytes = b"") -> bytes:
    return (
        b"HTTP/1.1 %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n"
        % (
            status,
            length,
            more,
        )
    )


def _asked(line: bytes, size: int) -> tuple[int, int]:
    """The range that a header asks for, as start and end; the whole file without one that can be read."""
    found = _RANGE.fullmatch(line.partition(b":")[2].strip())
    if found is None:
        return 0, size
    start, last = int(found[1]), found[2]
    return start, min(size, int(last) + 1) if last else size


def _open_plain(path: Path) -> BinaryIO | None:
    """Open a plain file, no link; None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


def in_folder(folder: Path) -> Callable[[str], Path | None]:
    """Resolve keys below ``releases/`` in a folder: what a mirror serves."""

    def resolve(key: str) -> Path | None:
        parts = key.split("/")
        hidden = any(part in ("", ".", "..") or part.startswith(".") or "\0" in part for part in parts)
        return None if parts[0] != "releases" or hidden else folder.joinpath(*parts)

    return resolve
