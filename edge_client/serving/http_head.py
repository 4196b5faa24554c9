"""The head of an HTTP request: request line and fields, read by httptools. No I/O.

1. A head is parsed once: an identical one is looked up. Clients send the same few heads for hours.
2. What could be understood in two ways (two lengths, a length beside a transfer coding, a second request inside the
   head) is refused and the connection closed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edge_client.contract.errors import ConfigError
from edge_client.serving.problems import Kind, Refusal, bad

try:
    import httptools
except ImportError as error:  # pragma: no cover -- the extra is installed wherever this is tested
    raise ConfigError("serving needs httptools: install the client with its extra, `andon-edge[serve]`") from error

Prepared = TypeVar("Prepared")

_KNOWN_HEADS = 512
_WORTH_KEEPING = 2048  # bytes; longer heads are rarely repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a request's head says.

    Attributes:
        method: In capitals.
        path: Without the query, still percent-encoded.
        query: After the question mark.
        fields: Names in lower case; a field given twice has both values, joined by a comma.
        keep_alive: Whether the connection may serve another request.
        length: Bytes of the body; 0 for none.
        chunked: The body comes in chunks; `length` means nothing.
        json_bytes: ``Inference-Header-Content-Length``.
        expects: The client waits for "100 Continue".
    """

    method: str
    path: str
    query: str
    fields: dict[str, str] = field(repr=False)  # holds the token
    keep_alive: bool
    length: int
    chunked: bool
    json_bytes: int | None
    expects: bool


class HeadParser:
    """Reads one head; httptools calls its methods."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.body = bytearray()
        self.complete = False
        self.messages = 0
        self._url = b""
        self._fields: dict[str, str] = {}
        self._headers_complete = False

    # -- called by httptools

    def on_message_begin(self) -> None:
        """A message begins."""
        self.messages += 1

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field."""
        if self._headers_complete:
            return  # a trailer
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._fields[key] = f"{self._fields[key]}, {text}" if key in self._fields else text

    def on_headers_complete(self) -> None:
        """The fields are over."""
        self._headers_complete = True

    def on_body(self, data: bytes) -> None:
        """A piece of a body in chunks."""
        self.body += data

    def on_message_complete(self) -> None:
        """The message is over."""
        self.complete = True

    # --

    def read(self, head: bytes) -> Head:
        """Read a head, which ends with an empty line.

        Raises:
            Refusal: It cannot be understood, or in more than one way.
        """
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # an offer of another protocol may be ignored: the answer is in this one
        except httptools.HttpParserError as error:
            raise bad(f"the request's head cannot be understood: {error}") from None
        if self.messages != 1 or not self._headers_complete:
            raise bad("the request's head holds another request, or ends too early")
        if self.parser.get_http_version() not in ("1.1", "1.0"):
            raise Refusal(Kind.VERSION, f"this is HTTP/{self.parser.get_http_version()}: expected HTTP/1.1")
        return self._head()

    def feed(self, data: bytes) -> None:
        """Read a piece of a body in chunks.

        Raises:
            Refusal: It cannot be understood.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # by a second request behind the body, which the caller does not read
        except httptools.HttpParserError as error:
            raise bad(f"the body's chunks cannot be understood: {error}") from None

    def _head(self) -> Head:
        fields = self._fields
        url = self._url
        try:
            target = url.decode("ascii")
        except UnicodeDecodeError:
            raise bad(f"the target {url[:60]!r} is not ASCII: percent-encode it") from None
        if target.startswith(("http://", "https://")):  # as a proxy is asked
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        path, _, query = target.partition("?")
        if self.parser.get_http_version() == "1.1" and "host" not in fields:
            raise bad("the request has no Host field, which HTTP/1.1 demands")
        coding = fields.get("transfer-encoding", "").strip().lower()
        if coding and coding != "chunked":
            raise Refusal(Kind.NOT_IMPLEMENTED, f"Transfer-Encoding is {coding!r:.60}: expected chunked, or none")
        expects = fields.get("expect", "").strip().lower()
        if expects not in ("", "100-continue"):
            raise Refusal(Kind.EXPECTATION, f"Expect is {expects!r:.60}: expected 100-continue, or none")
        return Head(
            method=self.parser.get_method().decode(),
            path=path,
            query=query,
            fields=fields,
            keep_alive=bool(self.parser.should_keep_alive()),
            length=0 if coding else _number(fields, "content-length") or 0,
            chunked=bool(coding),
            json_bytes=_number(fields, "inference-header-content-length"),
            expects=bool(expects),
        )


class Heads(Generic[Prepared]):
    """Parses heads, and remembers what was made of them.

    Args:
        prepare: Makes of a head what its requests need; called once for equal heads.
    """

    def __init__(self, prepare: Callable[[Head], Prepared]) -> None:
        self._prepare = prepare
        self._known: dict[bytes, Prepared] = {}

    def read(self, head: bytes) -> Prepared:
        """Return what is made of a head.

        Raises:
            Refusal: It cannot be understood.
        """
        found = self._known.get(head)
        if found is None:
            found = self._prepare(HeadParser().read(head))
            if len(head) <= _WORTH_KEEPING:
                if len(self._known) >= _KNOWN_HEADS:
                    self._known.clear()
                self._known[head] = found
        return found


def _number(fields: dict[str, str], name: str) -> int | None:
    text = fields.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise bad(f"{name} is {text!r:.60}: expected a whole number")
    return int(text)
