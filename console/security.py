"""What every request must satisfy, and what every answer carries.

1. The Host header names this machine: a page elsewhere cannot reach the console by a name that it makes point here.
2. A request that changes something comes from a page of the console itself (Origin), and is JSON: no form of another
   site can send it.
3. Answers allow scripts, styles and pictures of the console alone, and no framing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import JSONResponse

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Handler = Callable[[Request], Awaitable[Response]]


def guard(hosts: frozenset[str]) -> Callable[[Request, Handler], Awaitable[Response]]:
    """Make the middleware for a set of host names."""

    async def check(request: Request, answer: Handler) -> Response:
        problem = refusal(request.method, request.headers, hosts)
        response = problem if problem is not None else await answer(request)
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response

    return check


def refusal(method: str, headers: object, hosts: frozenset[str]) -> JSONResponse | None:
    """Return the answer to a request that may not pass, else None."""
    get = headers.get  # type: ignore[attr-defined]
    host = get("host", "")
    if (urlsplit(f"//{host}").hostname or "") not in hosts:
        return _problem(421, f"host {host!r} is not this console's: open it under {sorted(hosts)[0]}")
    if method in _SAFE:
        return None
    if get("sec-fetch-site", "same-origin") != "same-origin":
        return _problem(403, "the request comes from another site: use the console's own pages")
    origin = get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return _problem(403, f"the request comes from {origin!r}: use the console's own pages")
    if get("content-type", "").split(";")[0].strip() != "application/json":
        return _problem(415, "the request is not JSON: send Content-Type: application/json")
    return None


def _problem(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status)
