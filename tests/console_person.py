"""People for tests of the console: accounts with a password, signed in over HTTP or in a browser.

client = signed_in(console.url, workspace, role=Role.APPROVER)      # an httpx.Client with cookies and CSRF header
client.post("/api/labels", json={…})

sign_in_browser(page.context, console.url, workspace)               # then page.goto(…) as usual
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx

from data.users import Role
from data.users.accounts import UserError, add_user, get_user
from data.users.sessions import Limits, begin
from data.workspace import Workspace

LASTS = Limits(idle=timedelta(days=1), absolute=timedelta(days=1))


def ensure_person(workspace: Workspace, name: str = "ann", role: Role = Role.APPROVER) -> str:
    """An account of that name and role; returns the name."""
    try:
        assert get_user(workspace.catalog(), name).role is role, f"{name} has another role already"
    except UserError:
        add_user(workspace.catalog(), name, role, at=datetime.now(UTC))
    return name


def cookies_of(url: str, workspace: Workspace, name: str = "ann", role: Role = Role.APPROVER) -> dict[str, str]:
    """Cookies of a new session: made as signing in makes it, without the time that a password takes."""
    ensure_person(workspace, name, role)
    begun = begin(workspace.catalog(), name, at=datetime.now(UTC), limits=LASTS, address="test")
    assert begun is not None
    token, session = begun
    port = httpx.URL(url).port or 80
    return {f"andon-session-{port}": token, f"andon-csrf-{port}": session.csrf}


def signed_in(url: str, workspace: Workspace, name: str = "ann", role: Role = Role.APPROVER) -> httpx.Client:
    """A client on behalf of a person; paths are relative to `url`."""
    cookies = cookies_of(url, workspace, name, role)
    csrf = next(value for key, value in cookies.items() if "csrf" in key)
    return httpx.Client(base_url=url, cookies=cookies, headers={"X-CSRF-Token": csrf}, timeout=60)


def sign_in_browser(context, url: str, workspace: Workspace, name: str = "ann", role: Role = Role.APPROVER) -> None:  # type: ignore[no-untyped-def]
    """Put a session into a browser's context."""
    cookies = cookies_of(url, workspace, name, role)
    context.add_cookies(
        [{"name": key, "value": value, "url": url, "sameSite": "Strict"} for key, value in cookies.items()]
    )
