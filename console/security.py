"""What every request must satisfy, and what every answer carries.

1. The Host header names this machine: a page elsewhere cannot reach the console by a name that it makes point here.
2. A request that changes something comes from a page of the console itself (Origin), and is JSON: no form of another
   site can send it. It says its length, which is bounded.
3. Answers allow scripts, styles and pictures of the console alone, and no framing.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.errors import problem

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST_BYTES = 64 * 1024  # of a request: an answer has some hundred
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware that keeps the rules above. It never holds an answer back, so live views stream through it.

    Args:
        app: What is guarded.
        hosts: Names under which the console may be opened.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)  # a page of others' making states a policy of its own
            await send(message)

        refused = refusal(scope["method"], Headers(scope=scope), self._hosts)
        await (refused or self._app)(scope, receive, send_with_headers)


def refusal(method: str, headers: Mapping[str, str], hosts: frozenset[str]) -> JSONResponse | None:
    """Return the answer to a request that may not pass, else None.

    Args:
        method: Of the request.
        headers: Case-insensitive, or with lower-case names.
        hosts: Names under which the console may be opened.
    """
    host = headers.get("host", "")
    if _name_of(host) not in hosts:
        return problem(421, f"host {host!r} is not this console's: open it under {' or '.join(sorted(hosts))}")
    if method in _SAFE:
        return None
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return problem(403, "the request comes from another site: use the console's own pages")
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):  # TLS may end before the console
        return problem(403, f"the request comes from {origin!r}: use the console's own pages")
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        return problem(415, "the request is not JSON: send Content-Type: application/json")
    length = headers.get("content-length", "")
    if not length.isascii() or not length.isdigit():
        return problem(411, "the request does not say its length: send Content-Length")
    if int(length) > _MOST_BYTES:
        return problem(413, f"the request has {length} bytes: at most {_MOST_BYTES} are taken")
    return None


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # such as "[::1"
        return ""
