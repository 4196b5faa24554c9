"""The pages for admins: who may do what, and what was done.

1. What a button does is what ``andon user`` does, in the name of whoever presses it.
2. Nobody changes their own role or disables themselves: an admin who slips would lock themselves out.
3. The audit log is shown a page at a time, the newest first; nothing changes it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from console.pages import MakePage
from console.people import Admin, Person, needs
from data.catalog import Catalog
from data.users import Role
from data.users.accounts import UserError, add_user, list_users, set_disabled, set_role
from data.users.audit_log import list_audit_log
from data.users.links import LASTS, new_link

MOST_LINES = 200
Name = Annotated[str, Field(min_length=1, max_length=64)]
Adding = Annotated[Person, needs(Role.ADMIN, does="user.add")]
Linking = Annotated[Person, needs(Role.ADMIN, does="user.link")]
GivingRole = Annotated[Person, needs(Role.ADMIN, does="user.role")]
Disabling = Annotated[Person, needs(Role.ADMIN, does="user.disable")]


class NewUser(BaseModel):
    """Somebody who is to sign in."""

    name: Name
    role: Role


class NewRole(BaseModel):
    """What somebody may do from now on."""

    role: Role


class Disabled(BaseModel):
    """Whether somebody is kept out."""

    disabled: bool


def make_users_api(catalog: Catalog, page: MakePage, *, clock: Callable[[], datetime]) -> APIRouter:
    """Make the router."""
    api = APIRouter()

    @api.get("/users", response_class=HTMLResponse, include_in_schema=False)
    def users_page(request: Request, person: Admin) -> HTMLResponse:
        return page(request, "users.html", here="users", roles=[role.value for role in Role])

    @api.get("/audit-log", response_class=HTMLResponse, include_in_schema=False)
    def log_page(request: Request, person: Admin) -> HTMLResponse:
        return page(request, "audit_log.html", here="audit_log")

    @api.get("/api/users")
    def users(person: Admin) -> list[dict[str, Any]]:
        return [user.to_dict() for user in list_users(catalog)]

    @api.post("/api/users")
    def add(person: Adding, said: NewUser) -> dict[str, Any]:
        person.tell(about=said.name, role=said.role.value)
        user = add_user(catalog, said.name, said.role, at=clock())
        return {**user.to_dict(), **_link(user.name)}

    @api.post("/api/users/{name}/link")
    def link(person: Linking, name: str) -> dict[str, Any]:
        return _link(name)

    @api.post("/api/users/{name}/role")
    def role(person: GivingRole, name: str, said: NewRole) -> dict[str, Any]:
        person.tell(role=said.role.value)
        _not_oneself(person, name)
        return set_role(catalog, name, said.role).to_dict()

    @api.post("/api/users/{name}/disable")
    def disable(person: Disabling, name: str, said: Disabled) -> dict[str, Any]:
        person.tell(disabled=said.disabled)
        _not_oneself(person, name)
        return set_disabled(catalog, name, said.disabled, at=clock()).to_dict()

    @api.get("/api/audit-log")
    def log(
        person: Admin,
        before: Annotated[int | None, Query(ge=1, le=1 << 62)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_LINES)] = 100,
        who: Annotated[str | None, Query(max_length=128)] = None,
        what: Annotated[str | None, Query(max_length=64)] = None,
    ) -> list[dict[str, Any]]:
        entries = list_audit_log(catalog, limit=limit, before=before, who=who or None, what=what or None)
        return [entry.to_dict() for entry in entries]

    def _link(name: str) -> dict[str, Any]:
        token = new_link(catalog, name, at=clock())
        return {"name": name, "path": f"/login#link={token}", "hours": round(LASTS.total_seconds() / 3600)}

    return api


def _not_oneself(person: Person, name: str) -> None:
    if person.name == name:
        raise UserError("nobody changes their own role or disables themselves: ask another admin")
