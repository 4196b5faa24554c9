"""Before every route: no session, no answer.

1. What is not open (`console.people.OPEN`) is answered to a session alone: a page leads to the sign-in, all else gets
   401. This holds for addresses that do not exist, too: who is not signed in learns nothing.
2. A change carries the session's CSRF token in ``X-CSRF-Token``, beside the Origin check of `console.security`. Signing
   in has no session yet: it carries the token of the cookie that its page got.
3. A live view ends within half a minute of its session. Pages that only look by themselves do not keep a session alive.
4. Cookies are named after the port (browsers do not part them by port), HttpOnly, SameSite=Strict, Secure over HTTPS.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.errors import problem
from console.people import OPEN, OPEN_BELOW, SAFE, Person
from data.catalog import Catalog
from data.policy import AccessPolicy
from data.users.sessions import Limits, SignedIn, find

CHECKED_EVERY_SECONDS = 30.0
_BY_ITSELF = frozenset({"cors", "no-cors", "same-origin"})  # Sec-Fetch-Mode of what scripts and pictures ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookies:
    """The names of the cookies under one address (rule 4)."""

    session: str
    csrf: str
    secure: bool

    @staticmethod
    def under(scope: Scope) -> Cookies:
        """Those of a request."""
        secure = scope.get("scheme") == "https"
        host = Headers(scope=scope).get("host", "")
        port = host.rpartition(":")[2]
        port = port if port.isascii() and port.isdigit() else ("443" if secure else "80")
        prefix = "__Host-" if secure else ""
        names = [f"{prefix}andon-{kind}-{port}" for kind in ("session", "csrf")]
        return Cookies(session=names[0], csrf=names[1], secure=secure)

    def give(self, answer: Response, token: str, csrf: str) -> None:
        """Put both cookies of a session into an answer."""
        answer.set_cookie(self.session, token, httponly=True, samesite="strict", secure=self.secure)
        answer.set_cookie(self.csrf, csrf, httponly=False, samesite="strict", secure=self.secure)

    def take(self, answer: Response) -> None:
        """Take both away."""
        for name in (self.session, self.csrf):
            answer.delete_cookie(name, samesite="strict", secure=self.secure)


def limits_of(policy: AccessPolicy) -> Limits:
    """How long sessions last, by policy."""
    return Limits(idle=timedelta(minutes=policy.idle_minutes), absolute=timedelta(hours=policy.session_hours))


def person_of(found: SignedIn, scope: Scope) -> Person:
    """The person of a session."""
    user = found.user
    return Person(
        name=user.name, role=user.role, language=user.language, session=found.token_sha256, csrf=found.csrf,
        address=address_of(scope),
    )  # fmt: skip


def address_of(scope: Scope) -> str:
    """Where a request came from."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


class SessionGuard:
    """ASGI middleware that keeps the rules above.

    Args:
        app: What is guarded.
        catalog: Where the sessions are.
        clock: Aware time.
        policy: Gives the limits.
    """

    def __init__(
        self, app: ASGIApp, catalog: Catalog, clock: Callable[[], datetime], policy: Callable[[], AccessPolicy]
    ) -> None:
        self._app, self._catalog, self._clock, self._policy = app, catalog, clock, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # a WebSocket: there is none
        path, headers, cookies = scope["path"], Headers(scope=scope), Cookies.under(scope)
        jar = cookie_parser(headers.get("cookie", ""))
        if path.startswith(OPEN_BELOW) and path not in OPEN:
            await self._app(scope, receive, send)
            return
        token = jar.get(cookies.session, "")
        found = await anyio.to_thread.run_sync(self._find, token, _used(scope, headers)) if token else None
        if found is None and path not in OPEN:
            await self._refusal(scope, headers)(scope, receive, send)
            return
        if scope["method"] not in SAFE:
            expected = jar.get(cookies.csrf, "") if found is None or path in OPEN else found.csrf
            given = headers.get("x-csrf-token", "")
            if not expected or not hmac.compare_digest(expected.encode(), given.encode()):
                answer = problem(403, "the request does not carry this session's token: reload the page and try again")
                await answer(scope, receive, send)
                return
        if found is not None:
            scope.setdefault("state", {})["person"] = person_of(found, scope)
        await self._app(scope, receive, send if found is None else self._while_it_holds(token, send))

    def _find(self, token: str, used: bool) -> SignedIn | None:
        return find(self._catalog, token, at=self._clock(), limits=limits_of(self._policy()), used=used)

    def _refusal(self, scope: Scope, headers: Headers) -> Response:
        if (
            scope["method"] in SAFE
            and "text/html" in headers.get("accept", "")
            and not scope["path"].startswith("/api")
        ):
            query = scope.get("query_string", b"").decode("latin-1")
            place = scope["path"] + (f"?{query}" if query else "")
            return RedirectResponse(f"/login?next={quote(place, safe='')}" if place != "/" else "/login", 303)
        return problem(401, "you are not signed in, or no longer: sign in at /login")

    def _while_it_holds(self, token: str, send: Send) -> Send:
        """Pass an answer on; one that streams ends soon after its session does (rule 3)."""
        state: dict[str, Any] = {"live": False, "checked": time.monotonic(), "over": False}

        async def passing(message: Message) -> None:
            if message["type"] == "http.response.start":
                kind = Headers(raw=message.get("headers", [])).get("content-type", "")
                state["live"] = kind.startswith("text/event-stream")
            elif state["live"] and not state["over"] and time.monotonic() - state["checked"] > CHECKED_EVERY_SECONDS:
                state["checked"] = time.monotonic()
                state["over"] = await anyio.to_thread.run_sync(self._find, token, False) is None
                if state["over"]:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            if not state["over"]:
                await send(message)
            elif message["type"] == "http.response.body":
                raise OSError("the session of this live view is over")  # as if the browser had gone

        return passing


def _used(scope: Scope, headers: Headers) -> bool:
    return scope["method"] not in SAFE or headers.get("sec-fetch-mode", "navigate") not in _BY_ITSELF
