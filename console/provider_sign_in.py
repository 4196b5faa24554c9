"""Signing in through an identity provider: there, and back.

    /login/provider?next=/fleet      notes that this browser begins, and sends it to the provider
    /login/provider/answer           where the provider sends it back: the account, its role, a session

1. A page leads there by a link; nothing is sent by a form, so that the console's policy needs no exception.
2. The browser that comes back must be the one that began: it has a cookie that only it got. That cookie is
   SameSite=Lax, since the way back begins at the provider; it opens nothing by itself.
3. Whoever is let in goes on over the sign-in page: on the way from another site a browser keeps the session's own
   cookie (SameSite=Strict) to itself, and a page of the console asks for it again.
4. Nobody is led out of the console: only a path of its own is gone on to.
5. What failed is told by a sentence from the table of texts; why exactly stands in the audit log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from console.provider import Provider, ProviderError
from console.session_guard import Cookies, address_of
from console.sign_in import Door
from data.catalog import Catalog
from data.users import UserError, record
from data.users.begun import LASTS, MOST_ONWARD, begin_sign_in, end_sign_in
from data.users.identities import MOST_SUBJECT, Known, known_by
from data.users.tokens import new_token
from data.workspace import Workspace

_log = logging.getLogger("andon.console")
BEGIN, ANSWER = "/login/provider", "/login/provider/answer"
REASONS = ("away", "wrong", "denied", "over", "nobody", "taken", "disabled", "many")
_MOST_QUERY = 4096


def make_provider_api(
    workspace: Workspace, provider: Provider | None, door: Door, *, clock: Callable[[], datetime]
) -> APIRouter:
    """Make the router; without a provider its addresses lead back to the sign-in page."""
    api = APIRouter(include_in_schema=False)
    catalog = workspace.catalog()

    @api.get(BEGIN)
    def begin(request: Request) -> Response:
        if provider is None:
            return RedirectResponse("/login", 303)
        browser = request.cookies.get(_cookie(request), "")
        browser = browser if len(browser) == len(new_token()) else new_token()  # two tabs may both be on their way
        onward = onward_of(request.query_params.get("next", "/"))
        begun = begin_sign_in(catalog, browser=browser, onward=onward, address=address_of(request.scope), at=clock())
        if begun is None:
            return _failed("many", onward)
        try:
            answer = RedirectResponse(provider.address(begun, _redirect_uri(workspace, request)), 303)
        except ProviderError as error:
            door.refused(request, "", "provider", str(error))
            return _failed(error.reason, onward)
        answer.headers["Cache-Control"] = "no-store"
        answer.set_cookie(
            _cookie(request), browser, max_age=int(LASTS.total_seconds()), httponly=True, samesite="lax",
            secure=Cookies.under(request.scope).secure,
        )  # fmt: skip
        return answer

    @api.get(ANSWER)
    def answered(request: Request) -> Response:
        if provider is None:
            return RedirectResponse("/login", 303)
        query = {key: value[:_MOST_QUERY] for key, value in request.query_params.items()}
        begun = end_sign_in(
            catalog, query.get("state", ""), browser=request.cookies.get(_cookie(request), ""), at=clock()
        )
        if begun is None:
            door.refused(request, "", "provider", "no sign-in that this browser began fits the answer's state")
            return _failed("over", "/")
        name = ""
        try:
            claims = provider.claims(begun, _redirect_uri(workspace, request), query)
            name = str(claims.get(provider.stated.name_claim) or claims.get("email") or claims["sub"])
            known = _account(catalog, provider, claims, name, clock())
        except ProviderError as error:
            door.refused(request, name, "provider", str(error))
            return _failed(error.reason, begun.onward)
        _tell(catalog, provider, known, at=clock(), address=address_of(request.scope))
        answer = RedirectResponse(f"/login?next={quote(begun.onward, safe='')}", 303)
        answer.headers["Cache-Control"] = "no-store"
        if door.let_in(request, answer, known.user.name, "provider") is None:
            return _failed("disabled", begun.onward)
        answer.delete_cookie(_cookie(request), samesite="lax", secure=Cookies.under(request.scope).secure)
        return answer

    return api


def ends_at(workspace: Workspace, provider: Provider | None, request: Request, issuer: str | None) -> str | None:
    """Where somebody of an issuer goes to sign out there, too; None: they stay."""
    if provider is None or issuer != provider.stated.issuer:
        return None
    return provider.end_address(f"{_base(workspace, request)}/login")


def onward_of(wanted: str) -> str:
    r"""The page to go on to: a path of this console, else its start page (rule 4).

    >>> [onward_of(each) for each in ("/fleet?site=a", "//evil", "/\\evil", "https://evil", "/login/provider", "a")]
    ['/fleet?site=a', '/', '/', '/', '/', '/']
    """
    plain = wanted.startswith("/") and not wanted.startswith("//") and len(wanted) <= MOST_ONWARD
    if not plain or "\\" in wanted or not wanted.isprintable():
        return "/"
    return "/" if urlsplit(wanted).path.startswith("/login") else wanted


def _account(catalog: Catalog, provider: Provider, claims: dict[str, object], name: str, at: datetime) -> Known:
    stated, subject = provider.stated, claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= MOST_SUBJECT:
        raise ProviderError("wrong", f"its subject is {str(subject)[:80]!r}, expected 1 to {MOST_SUBJECT} characters")
    role = stated.role_of(claims)
    if role is None:
        known = ", ".join(sorted(stated.roles)) or "none"
        raise ProviderError(
            "nobody", f"{name} has none of the values of {stated.role_claim!r} that give a role: {known}"
        )
    try:
        return known_by(catalog, issuer=stated.issuer, subject=subject, called=name, role=role, at=at)
    except UserError as error:
        raise ProviderError("taken", str(error)) from error


def _tell(catalog: Catalog, provider: Provider, known: Known, *, at: datetime, address: str) -> None:
    """Write down what the provider's word changed."""
    if not known.new and known.before is None:
        return
    facts = {"issuer": provider.stated.issuer, "role": known.user.role.value}
    if known.before is not None:
        facts["before"] = known.before.value
    record(
        catalog, "user.add" if known.new else "user.role", who=known.user.name, role=known.user.role.value, at=at,
        about=known.user.name, address=address, detail=f"by the word of {provider.stated.name}", facts=facts,
    )  # fmt: skip


def _failed(reason: str, onward: str) -> Response:
    _log.warning("a sign-in through the identity provider failed: %s; the audit log says why", reason)
    beyond = f"&next={quote(onward, safe='')}" if onward != "/" else ""
    return RedirectResponse(f"/login?problem={reason}{beyond}", 303, headers={"Cache-Control": "no-store"})


def _base(workspace: Workspace, request: Request) -> str:
    """By which address people reach the console: as stated, else as they just did (its host was checked)."""
    return (workspace.console_url or f"{request.url.scheme}://{request.url.netloc}").rstrip("/")


def _redirect_uri(workspace: Workspace, request: Request) -> str:
    return _base(workspace, request) + ANSWER


def _cookie(request: Request) -> str:
    cookies = Cookies.under(request.scope)
    return cookies.session.replace("-session-", "-begun-")
