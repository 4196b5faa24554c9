"""A home directory with a catalog, and the console of it behind a client: no bucket is asked for anything."""

from __future__ import annotations

import json
from pathlib import Path

from fastapi.testclient import TestClient

from console.app import create_app
from data.users import Role
from data.workspace import Workspace
from tests.console_person import cookies_of

URL = "http://127.0.0.1:80"


def make_workspace(home: Path) -> Workspace:
    home.mkdir(exist_ok=True)
    stack = {"urls": {"bucket": "http://127.0.0.1:1"}, "bucket": {"name": "b"}}
    (home / "stack.json").write_text(json.dumps(stack))
    (home / "secrets.json").write_text(json.dumps({"access_key_id": "a", "secret_access_key": "b"}))
    return Workspace.open(home, environ={})


def client_of(app, workspace: Workspace, name: str | None = None, role: Role = Role.VIEWER) -> TestClient:  # type: ignore[no-untyped-def]
    """A client that follows no redirect; of a person, if one is named."""
    client = TestClient(app, base_url=URL, follow_redirects=False, raise_server_exceptions=False)
    if name is not None:
        cookies = cookies_of(URL, workspace, name, role)
        client.headers["Cookie"] = "; ".join(f"{key}={value}" for key, value in cookies.items())
        client.headers["X-CSRF-Token"] = cookies["andon-csrf-80"]
    return client


def app_of(home: Path):  # type: ignore[no-untyped-def]
    workspace = make_workspace(home)
    return workspace, create_app(workspace)
