"""A mirror of the releases on a plain web server, read as a bucket is.

1. Read-only, and believed in nothing: what it serves counts with its signed digest alone.
2. A request can't hold the updater: connecting, every wait and the whole have a time.
3. No redirects, no more bytes than were asked for. A server that knows no ranges works too; what lies before the range
   is then read and dropped.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

from edge_client.contract.bucket import ObjectInfo
from edge_client.contract.errors import BucketError, ConfigError, NotFound, Refused, Unavailable
from edge_client.contract.quoting import quoted
from edge_client.http_deadline import Deadline, ask_until

_CONNECT_SECONDS = 3.0  # it is on the same network
_STALL_SECONDS = 10.0
_LEAST_BYTES_PER_SECOND = 20_000.0  # slower than this it is no help: the next source is asked
_PIECE_BYTES = 65_536
_ANSWERS = (http.client.OK, http.client.PARTIAL_CONTENT, http.client.REQUESTED_RANGE_NOT_SATISFIABLE)


class WebMirror:
    """A folder on a web server that has ``releases/`` in it.

    Args:
        url: Its address, such as ``http://10.0.0.5:8080/``.
        ca_bundle: Certificates that HTTPS is held against; default: the system's.
        monotonic: Measures a request.

    Raises:
        ConfigError: The address can't be used.
    """

    def __init__(
        self, url: str, *, ca_bundle: Path | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if host is None or parts.scheme not in ("http", "https") or parts.query or parts.username:
            raise ConfigError(f"mirror {quoted(url)} is no address: expected http://HOST[:PORT]/ or a folder's path")
        self.url = url
        self._host, self._port, self._folder = host, port, parts.path.strip("/")
        self._monotonic = monotonic
        self._tls = None
        if parts.scheme == "https":
            try:
                self._tls = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else None)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"certificates {ca_bundle} for the mirror {url} cannot be read: {error}") from error

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object of at most `max_bytes`.

        Raises:
            BucketError: The object is larger.
        """
        data = self._fetch(key, 0, max_bytes + 1, {})
        if len(data) > max_bytes:
            raise BucketError(f"object {key!r} at {self.url} has more than {max_bytes} bytes")
        return data

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; empty past the end."""
        if length <= 0:
            return b""
        return self._fetch(key, start, length, {"Range": f"bytes={start}-{start + length - 1}"})

    def head(self, key: str) -> ObjectInfo | None:
        """Tell about an object, or None where there is none."""
        try:
            with self._asked("HEAD", key, {}) as answer:
                return ObjectInfo(key=key, bytes=int(answer.headers.get("Content-Length", 0)))
        except NotFound:
            return None

    def put(self, key: str, data: bytes, *, content_type: str = "") -> None:
        """Not possible: a mirror is read-only."""
        raise Refused(f"mirror {self.url} is read-only: {key!r} is not put there")

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Not possible: a web server does not list."""
        raise Refused(f"mirror {self.url} does not list: {prefix!r}")

    def delete(self, key: str) -> None:
        """Not possible: a mirror is read-only."""
        raise Refused(f"mirror {self.url} is read-only: {key!r} is not removed there")

    def _fetch(self, key: str, start: int, most: int, headers: dict[str, str]) -> bytes:
        with self._asked("GET", key, headers, start=start, most=most) as answer:
            if answer.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            return self._read(answer, start if answer.status == http.client.OK else 0, most, key)

    @contextlib.contextmanager
    def _asked(
        self, method: str, key: str, headers: dict[str, str], *, start: int = 0, most: int = 0
    ) -> Iterator[http.client.HTTPResponse]:
        """Make a request for up to `most` bytes from `start`; what goes wrong inside is told as a bucket would."""
        seconds = 2 * _STALL_SECONDS + most / _LEAST_BYTES_PER_SECOND
        deadline = Deadline(self._monotonic() + seconds, _STALL_SECONDS, self._monotonic)
        connection = self._connection()
        try:
            path = "/".join(["", *filter(None, [self._folder]), quote(key)])
            answer = ask_until(deadline, connection, method, path, headers)
            if answer.status not in _ANSWERS:
                raise self._refusal(answer.status, key)
            if answer.status == http.client.OK:  # it knows no ranges: what lies before comes too
                deadline.at += start / _LEAST_BYTES_PER_SECOND
            yield answer
        except TimeoutError as error:
            raise Unavailable(f"mirror {self.url} is too slow for {key!r}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unavailable(f"mirror {self.url} cannot be reached for {key!r}: {error!r}") from error
        finally:
            connection.close()

    def _read(self, answer: http.client.HTTPResponse, skip: int, most: int, key: str) -> bytes:
        data, wanted, expected = bytearray(), skip + most, answer.length
        while len(data) < wanted and (piece := answer.read1(min(_PIECE_BYTES, wanted - len(data)))):
            data += piece
        if expected is not None and len(data) < min(wanted, expected):
            raise Unavailable(f"mirror {self.url} stopped in the middle of {key!r}, after {len(data)} bytes")
        return bytes(data[skip:])

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            made = http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_SECONDS)
        else:
            made = http.client.HTTPSConnection(self._host, self._port, timeout=_CONNECT_SECONDS, context=self._tls)
        try:
            made.connect()
        except OSError as error:
            made.close()
            raise Unavailable(f"mirror {self.url} cannot be reached: {error}") from error
        return made

    def _refusal(self, status: int, key: str) -> BucketError:
        if status == 404:
            return NotFound(f"mirror {self.url} has no object {key!r}")
        if status in (401, 403):
            return Refused(f"mirror {self.url} refuses {key!r} ({status})")
        return Unavailable(f"mirror {self.url} answered {status} for {key!r}")
