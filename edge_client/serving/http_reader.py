"""Requests off one HTTP connection, one after another.

1. Head and body lie in one buffer that the connection keeps; the body is given as a view of it, valid until the next
   request is read.
2. What follows a request in the buffer (pipelining) is the beginning of the next.
3. A head has bounded bytes and time from its first byte; a body its announced length, bounded, and time by its length.
   Between requests a connection may be idle for a bounded time.
4. After a refusal from here the connection cannot go on: where the next request begins is not known.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from edge_client.serving.body_budget import Account, BodyBudget
from edge_client.serving.http_head import Head, HeadParser, Heads, Prepared
from edge_client.serving.problems import Kind, Refusal, bad
from edge_client.serving.wire import TooSlow, Wire

_FIRST_BUFFER = 1 << 16
_KEPT_BUFFER = 8 << 20  # a larger one is let go after its request
# The head for a parser of chunks alone: after an offer of another protocol (curl makes one) it would read no body.
_CHUNKS_FOLLOW = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Bounds of what a client may take of the server's memory and time.

    Attributes:
        head_bytes: Most bytes of request line and fields.
        body_bytes: Most bytes of a body, also once it is decompressed.
        bodies_bytes: Most bytes of the bodies of all connections at once.
        head_seconds: For a head, from its first byte.
        body_seconds: For a body, and then a second for each `least_bytes_per_second`.
        idle_seconds: Between requests.
        write_seconds: For taking an answer.
    """

    head_bytes: int = 16_384
    body_bytes: int = 64 << 20
    bodies_bytes: int = 256 << 20
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    least_bytes_per_second: int = 65_536
    idle_seconds: float = 120.0
    write_seconds: float = 30.0


class HttpReader(Generic[Prepared]):
    """Reads requests.

    Args:
        wire: The connection.
        heads: Parses heads.
        head_of: Gives the head of what `heads` prepared.
        limits: Bounds.
        budget: Of the bodies of all connections; without one there is none but `limits`.
    """

    def __init__(
        self,
        wire: Wire,
        heads: Heads[Prepared],
        head_of: Callable[[Prepared], Head],
        limits: HttpLimits,
        budget: BodyBudget | None = None,
    ) -> None:
        self._account = Account(budget or BodyBudget(2 * limits.body_bytes), free=_FIRST_BUFFER)
        self._wire = wire
        self._heads = heads
        self._head_of = head_of
        self._limits = limits
        self._buffer = bytearray(_FIRST_BUFFER)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._used = 0  # bytes of the request before
        self.idle = True
        self.ambiguous = False  # bytes were read that can't be told apart from the next request

    def next(self) -> tuple[Prepared, memoryview] | None:
        """Return what was made of the next request's head, and its body; None when the client has ended.

        Raises:
            Refusal: By rules 3 and 4.
            Gone: The connection broke.
        """
        self._forget_used()
        self._account.clear()
        self.idle = True
        end = self._read_head()
        if end < 0:
            return None
        prepared = self._heads.read(bytes(self._view[:end]))
        head = self._head_of(prepared)
        if head.chunked:
            return prepared, self._decompressed(head, self._read_chunks(head, end))
        total = end + head.length
        if head.length > self._limits.body_bytes:
            raise self._too_large(head.length)
        self._account.hold(head.length)
        if self._filled < total:
            if head.expects:
                self._wire.write([_CONTINUE], time.monotonic() + self._limits.write_seconds)
            self._make_room(total)
            self._fill(total, head.length)
        self._used = total
        return prepared, self._decompressed(head, self._view[end:total])

    def close(self) -> None:
        """Give back what the last request was charged."""
        self._account.clear()

    def _forget_used(self) -> None:
        rest = self._filled - self._used
        if len(self._buffer) > _KEPT_BUFFER and rest <= _FIRST_BUFFER:
            kept = bytes(self._view[self._used : self._filled])
            self._buffer = bytearray(_FIRST_BUFFER)
            self._view = memoryview(self._buffer)
            self._view[: len(kept)] = kept
        elif rest:
            self._view[:rest] = bytes(self._view[self._used : self._filled])
        self._filled, self._used = rest, 0

    def _read_head(self) -> int:
        """Return where the head ends, after its empty line; -1 when nothing came."""
        limits = self._limits
        looked = 0
        deadline = time.monotonic() + limits.idle_seconds
        if self._filled:
            self.idle = False
            deadline = time.monotonic() + limits.head_seconds
        while True:
            end = self._buffer.find(b"\r\n\r\n", looked, self._filled)
            if end >= 0:
                if end > limits.head_bytes:
                    break
                return end + 4
            if self._filled > limits.head_bytes:
                break
            looked = max(0, self._filled - 3)
            try:
                count = self._wire.read(self._view[self._filled :], deadline)
            except TooSlow:
                if self.idle:
                    return -1
                raise Refusal(Kind.TIMEOUT, f"the request's head did not arrive in {limits.head_seconds:g} s") from None
            if not count:
                if self.idle or not self._filled:
                    return -1
                raise bad("the client ended in the middle of the request's head")
            self._filled += count
            if self.idle:
                self.idle = False
                deadline = time.monotonic() + limits.head_seconds
        raise Refusal(
            Kind.HEADERS_TOO_LARGE,
            f"the request's head is longer than {limits.head_bytes} bytes, the most that is read",
        )

    def _make_room(self, total: int) -> None:
        if total > len(self._buffer):
            larger = bytearray(total)
            larger[: self._filled] = self._view[: self._filled]
            self._buffer = larger
            self._view = memoryview(larger)

    def _fill(self, total: int, length: int) -> None:
        seconds = self._limits.body_seconds + length / self._limits.least_bytes_per_second
        try:
            self._wire.fill(self._view[self._filled : total], time.monotonic() + seconds)
        except TooSlow:
            raise Refusal(Kind.TIMEOUT, f"the body of {length} bytes did not arrive in {seconds:.0f} s") from None
        self._filled = total

    def _read_chunks(self, head: Head, end: int) -> memoryview:
        parser = HeadParser()
        parser.feed(_CHUNKS_FOLLOW)
        piece: bytes | memoryview = bytes(self._view[end : self._filled])
        self._used = self._filled
        scratch = memoryview(bytearray(_FIRST_BUFFER))
        deadline = time.monotonic() + self._limits.body_seconds
        if head.expects and not piece:
            self._wire.write([_CONTINUE], time.monotonic() + self._limits.write_seconds)
        received = 0
        while True:
            received += len(piece)
            parser.feed(bytes(piece))
            if len(parser.body) > self._limits.body_bytes:
                raise self._too_large(len(parser.body))
            if received > 2 * self._limits.body_bytes + (1 << 20):  # chunks of one byte, or endless trailers
                raise self._too_large(received)
            self._account.hold(len(parser.body))
            if parser.complete:
                self.ambiguous = parser.messages > 1
                return memoryview(bytes(parser.body))
            try:
                count = self._wire.read(scratch, deadline + received / self._limits.least_bytes_per_second)
            except TooSlow:
                raise Refusal(Kind.TIMEOUT, "the body's chunks did not arrive in time") from None
            if not count:
                raise bad("the client ended in the middle of a body in chunks")
            piece = scratch[:count]

    def _decompressed(self, head: Head, body: memoryview) -> memoryview:
        coding = head.fields.get("content-encoding")
        if coding is None or coding.lower() == "identity":
            return body
        if coding.lower() not in ("gzip", "deflate"):
            raise Refusal(Kind.MEDIA_TYPE, f"Content-Encoding is {coding!r:.60}: expected gzip, deflate or none")
        self._account.hold(len(body) + self._limits.body_bytes)  # it is not known how large it becomes
        inflate = zlib.decompressobj(47)  # either, by its first bytes
        try:
            plain = inflate.decompress(body, self._limits.body_bytes)
        except zlib.error as error:
            raise bad(f"the body cannot be decompressed: {error}") from None
        if inflate.unconsumed_tail:
            raise self._too_large(len(plain) + 1)
        if not inflate.eof:
            raise bad("the compressed body is cut short")
        self._account.hold(len(body) + len(plain))
        return memoryview(plain)

    def _too_large(self, size: int) -> Refusal:
        return Refusal(Kind.TOO_LARGE, f"the body has {size} bytes or more: at most {self._limits.body_bytes} are read")
