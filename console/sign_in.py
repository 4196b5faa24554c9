"""Signing in and out, and what people change of their own account.

1. A sign-in is by name and password, or by a one-time link. What failed is never said more exactly than that it did.
2. Failures slow down the next tries (data.users.attempts); a try that must wait is not looked at.
3. Each sign-in makes a new session and ends the one that the browser had. It is written to the audit log; so is each
   failure, by the name that was tried.
4. A link's token stands behind ``#`` in its address: it reaches no log and no other server. A page's script sends it.
5. Whoever came by a link may set a password without the old one; else the old one is asked for. Whoever comes from an
   identity provider has none here.
6. Passwords may be switched off where there is an identity provider; links from a terminal still work.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from console.errors import problem
from console.language import language_of, translator
from console.people import Person, Viewer
from console.session_guard import Cookies, address_of, limits_of
from data.catalog import Catalog
from data.users import record
from data.users.accounts import get_user, set_language, set_password
from data.users.attempts import forget_old, succeeded, try_now
from data.users.audit_log import REFUSED
from data.users.links import use_link
from data.users.passwords import MOST
from data.users.sessions import SignedIn, begin, end
from data.users.verify import password_holds
from data.workspace import Workspace

Secret = Annotated[str, Field(min_length=1, max_length=MOST)]


class Entry(BaseModel):
    """How somebody signs in: by name and password, or by a link's token."""

    name: Annotated[str, Field(max_length=64)] = ""
    password: Annotated[str, Field(max_length=MOST)] = Field(default="", repr=False)
    link: Annotated[str, Field(max_length=64)] = Field(default="", repr=False)


class NewPassword(BaseModel):
    """A person's new password."""

    old: Annotated[str, Field(max_length=MOST)] = Field(default="", repr=False)
    new: Secret = Field(repr=False)


class Language(BaseModel):
    """In which language a person reads."""

    language: Literal["en", "de"]


class Door:
    """Where people come in: the same for passwords, links and identity providers.

    Args:
        catalog: Where users and sessions are.
        workspace: For the policy of how long a session lasts.
        clock: Aware time.
    """

    def __init__(self, catalog: Catalog, workspace: Workspace, clock: Callable[[], datetime]) -> None:
        self._catalog, self._workspace, self._clock = catalog, workspace, clock

    def let_in(self, request: Request, answer: Response, name: str, how: str) -> SignedIn | None:
        """Begin a session and put its cookies into an answer; None for a user who is disabled (rule 3)."""
        address, at = address_of(request.scope), self._clock()
        limits = limits_of(self._workspace.policy().access)
        begun = begin(self._catalog, name, at=at, limits=limits, address=address)
        if begun is None:
            self.refused(request, name, how, "the account is disabled")
            return None
        before = request.scope.get("state", {}).get("person")
        if isinstance(before, Person):
            end(self._catalog, before.session)
        token, signed_in = begun
        Cookies.under(request.scope).give(answer, token, signed_in.csrf)
        role = signed_in.user.role.value
        record(self._catalog, "sign-in", who=name, role=role, at=at, address=address, facts={"how": how})
        return signed_in

    def refused(self, request: Request, name: str, how: str, why: str) -> None:
        """Write down that somebody was not let in."""
        record(
            self._catalog, "sign-in", who=name or "unknown", at=self._clock(), address=address_of(request.scope),
            outcome=REFUSED, detail=why, facts={"how": how},
        )  # fmt: skip


def make_sign_in_api(
    catalog: Catalog,
    door: Door,
    *,
    clock: Callable[[], datetime],
    passwords: bool = True,
    ends_at: Callable[[Request, str | None], str | None] = lambda request, issuer: None,
) -> APIRouter:
    """Make the router.

    Args:
        catalog: Where users and sessions are.
        door: Lets people in.
        clock: Aware time.
        passwords: Whether they work (rule 6).
        ends_at: Where somebody of an issuer goes to sign out there, too.
    """
    api = APIRouter(prefix="/api")

    @api.post("/sign-in")
    def sign_in(request: Request, said: Entry) -> Response:
        t = translator(language_of(None, request.headers.get("accept-language", "")))
        address, at = address_of(request.scope), clock()
        tried = "" if said.link else said.name.strip()
        if not said.link and not passwords:
            return problem(403, t("login.no_passwords"))
        forget_old(catalog, at=at)
        left = try_now(catalog, tried, address, at=at)
        if left > timedelta(0):
            seconds = max(1, round(left.total_seconds()))
            refused = problem(429, t("login.wait", n=seconds))
            refused.headers["Retry-After"] = str(seconds)
            return refused
        if said.link:
            name, how = use_link(catalog, said.link, at=at), "link"
        else:
            name, how = password_holds(catalog, tried, said.password), "password"
        if name is None:
            door.refused(request, tried, how, "wrong name or password" if how == "password" else "link not valid")
            return problem(401, t("login.wrong") if how == "password" else t("login.link_over"))
        answer = JSONResponse({"name": name})
        if (signed_in := door.let_in(request, answer, name, how)) is None:
            return problem(401, t("login.wrong"))
        succeeded(catalog, tried, address)
        sets = how == "link" and passwords and not signed_in.user.has_password and signed_in.user.issuer is None
        answer.body = answer.render({"name": name, "set_password": sets})
        answer.headers["Content-Length"] = str(len(answer.body))
        return answer

    @api.post("/sign-out")
    def sign_out(request: Request, person: Viewer) -> Response:
        end(catalog, person.session)
        record(
            catalog, "sign-out", who=person.name, role=person.role.value, at=clock(), address=person.address
        )  # fmt: skip
        go = ends_at(request, get_user(catalog, person.name).issuer)
        answer = JSONResponse({"signed_out": person.name, "go": go})
        Cookies.under(request.scope).take(answer)
        return answer

    @api.get("/me")
    def me(person: Viewer) -> dict[str, str | None]:
        return {"name": person.name, "role": person.role.value, "language": person.language}

    @api.post("/me/password")
    def password(request: Request, person: Viewer, said: NewPassword) -> Response:
        t = translator(language_of(person.language, request.headers.get("accept-language", "")))
        at, user = clock(), get_user(catalog, person.name)
        if user.issuer is not None:
            return problem(422, t("account.elsewhere", issuer=user.issuer))
        if user.has_password:
            left = try_now(catalog, person.name, person.address, at=at)
            if left > timedelta(0):
                return problem(429, t("login.wait", n=max(1, round(left.total_seconds()))))
            if password_holds(catalog, person.name, said.old) is None:
                return problem(422, t("account.old_wrong"))
            succeeded(catalog, person.name, person.address)
        set_password(catalog, person.name, said.new, keep=person.session)
        record(
            catalog, "user.password", who=person.name, role=person.role.value, at=at, about=person.name,
            address=person.address,
        )  # fmt: skip
        return JSONResponse({"name": person.name})

    @api.post("/me/language")
    def language(person: Viewer, said: Language) -> dict[str, str]:
        set_language(catalog, person.name, said.language)
        return {"language": said.language}

    return api
