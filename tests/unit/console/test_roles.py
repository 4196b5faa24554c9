"""Roles: each action by each role, and without a session; every route states what it needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from console.people import OPEN, check_declared, is_open, least_role, needs
from data.users import Role
from data.users.audit_log import list_audit_log
from data.workspace import Workspace
from tests.unit.console.installation import app_of, client_of

#: Least role of each action. A new route is added here, too: the table is what was meant, the code what is done.
MEANT = {
    "GET /": "viewer", "GET /label": "labeller", "GET /label/{inspection}": "labeller", "GET /loop": "viewer",
    "GET /causes": "viewer", "GET /drift": "viewer", "GET /fleet": "viewer", "GET /rollouts": "viewer",
    "GET /account": "viewer", "GET /users": "admin", "GET /audit-log": "admin",
    "POST /api/sign-out": "viewer", "GET /api/me": "viewer", "POST /api/me/password": "viewer",
    "POST /api/me/language": "viewer", "GET /api/users": "admin", "POST /api/users": "admin",
    "POST /api/users/{name}/link": "admin", "POST /api/users/{name}/role": "admin",
    "POST /api/users/{name}/disable": "admin", "GET /api/audit-log": "admin", "GET /api/inspections": "viewer",
    "GET /api/loop": "viewer", "GET /api/loop/live": "viewer", "GET /api/image/{sample_id}": "viewer",
    "GET /api/overlay/{sample_id}.png": "viewer", "GET /api/{inspection}/next": "labeller",
    "POST /api/labels": "labeller", "POST /api/undo": "labeller", "GET /api/{inspection}/causes": "viewer",
    "GET /api/{inspection}/drift": "viewer", "POST /api/{inspection}/drift/{alarm}/close": "approver",
    "GET /api/fleet": "viewer", "GET /api/fleet/device/{name}": "viewer", "GET /api/{inspection}/rollouts": "viewer",
    "POST /api/{inspection}/rollouts/{channel}/{what}": "approver", "GET /review": "labeller",
    "GET /api/{inspection}/asked": "labeller", "GET /api/{inspection}/similar/{sample_id}": "labeller",
    "GET /api/{inspection}/batches": "labeller", "GET /api/{inspection}/batch": "labeller",
    "POST /api/{inspection}/hold": "labeller", "POST /api/{inspection}/leave": "labeller",
    "POST /api/{inspection}/classes": "labeller", "POST /api/labels/batch": "labeller",
    "POST /api/flags": "labeller", "POST /api/flags/{event_id}/close": "labeller",
    "GET /api/{inspection}/review": "labeller", "GET /api/{inspection}/review/cases": "labeller",
    "GET /api/{inspection}/review/people": "labeller", "GET /api/{inspection}/review/record": "labeller",
    "GET /models": "viewer", "GET /models/{inspection}": "viewer",
    "GET /models/{inspection}/{version}/report": "viewer",
    "GET /api/{inspection}/models": "viewer", "GET /api/{inspection}/models/{version}/promise": "viewer",
    "POST /api/{inspection}/models/{version}/{what}": "approver", "GET /field": "viewer",
    "GET /api/{inspection}/field": "viewer", "GET /value": "viewer", "GET /api/{inspection}/value": "viewer",
    "POST /api/{inspection}/value/prices": "admin",
    "POST /api/{inspection}/review/preview": "labeller", "POST /api/{inspection}/review/undo": "labeller",
}  # fmt: skip
#: Without a role, on purpose.
MEANT_OPEN = {
    "GET /login", "GET /login/provider", "GET /login/provider/answer", "POST /api/sign-in", "GET /healthz",
    "GET /metrics", "GET /static/texts.js",
}  # fmt: skip
NOT_TRIED = ("GET /api/loop/live", "POST /api/sign-out")  # one never ends, the other ends the session
FILLED = {
    "{inspection}": "none",
    "{sample_id}": "none",
    "{name}": "none",
    "{alarm}": "1",
    "{version}": "1",
    "{channel}": "stable",
    "{what}": "hold",
    "{event_id}": "none-at-all",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, FastAPI]]:
    workspace, app = app_of(tmp_path_factory.mktemp("roles") / "home")
    yield workspace, app
    workspace.catalog().close()


def actions(app: FastAPI) -> dict[str, Any]:
    """Method and path to route; mounts and HEAD aside."""
    return {
        f"{method} {route.path}": route
        for route in iter_route_contexts(app.routes)
        for method in sorted((route.methods if hasattr(route, "methods") else None) or ())
        if method != "HEAD"
    }


def test_every_route_states_the_role_that_is_meant(installed: tuple[Workspace, FastAPI]) -> None:
    found = actions(installed[1])
    stated = {name: role.value for name, route in found.items() if (role := least_role(route)) is not None}
    assert stated == MEANT
    assert set(found) - set(stated) <= MEANT_OPEN
    assert all(is_open(name.split()[1]) for name in set(found) - set(stated))
    assert {name.split()[1] for name in MEANT_OPEN} == OPEN


def test_an_application_with_a_silent_route_does_not_start() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.get("/said", dependencies=[needs(Role.VIEWER)])(lambda: None)
    check_declared(app)
    app.get("/silent")(lambda: None)
    with pytest.raises(RuntimeError, match="without a least role: /silent"):
        check_declared(app)


def filled(action: str) -> tuple[str, str]:
    method, path = action.split()
    for place, value in FILLED.items():
        path = path.replace(place, value)
    assert "{" not in path
    return method, path


def test_each_action_by_each_role_and_by_nobody(installed: tuple[Workspace, FastAPI]) -> None:
    workspace, app = installed
    clients = {role: client_of(app, workspace, f"the-{role.value}", role) for role in Role}
    nobody, passed, refused = client_of(app, workspace), 0, 0
    for action, needed in MEANT.items():
        if action in NOT_TRIED:
            continue
        method, path = filled(action)
        for accept in ("application/json", "text/html"):
            answer = nobody.request(method, path, json={}, headers={"Accept": accept})
            assert answer.status_code in (401, 303), (action, answer.status_code)
            assert answer.status_code == 401 or answer.headers["location"].startswith("/login"), action
        for role, client in clients.items():
            status = client.request(method, path, **({"json": {}} if method == "POST" else {})).status_code
            if role.may(Role(needed)):
                assert status not in (401, 403, 405, 500), (action, role, status)
                passed += 1
            else:
                assert status == 403, (action, role, status)
                refused += 1
    tried = [Role(least) for action, least in MEANT.items() if action not in NOT_TRIED]
    assert passed == sum(role.may(least) for least in tried for role in Role)
    assert refused == 4 * len(tried) - passed > 50


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/nothing", "/openapi.json", "/docs", "/api/../users", "//users", "/STATIC/x"]
)
def test_what_does_not_exist_is_not_told_to_who_is_not_signed_in(
    installed: tuple[Workspace, FastAPI], path: str
) -> None:
    answer = client_of(installed[1], installed[0]).get(path)
    assert answer.status_code == 401, answer.text


def test_a_change_without_the_sessions_token_is_refused(installed: tuple[Workspace, FastAPI]) -> None:
    workspace, app = installed
    client = client_of(app, workspace, "the-admin", Role.ADMIN)
    for token in ("", "x", client_of(app, workspace, "the-viewer").headers["X-CSRF-Token"]):
        answer = client.post("/api/users", json={"name": "eve", "role": "admin"}, headers={"X-CSRF-Token": token})
        assert (answer.status_code, "session's token" in answer.text) == (403, True)


def test_what_a_role_may_not_do_is_written_down(installed: tuple[Workspace, FastAPI]) -> None:
    workspace, app = installed
    client_of(app, workspace, "the-viewer").post("/api/users", json={"name": "eve", "role": "admin"})
    entry = list_audit_log(workspace.catalog(), who="the-viewer", limit=1)[0]
    assert (entry.what, entry.outcome, entry.detail) == ("user.add", "refused", "needs admin")


def test_the_metrics_are_for_this_machine_or_for_who_brings_the_token(installed: tuple[Workspace, FastAPI]) -> None:
    workspace, app = installed
    far = client_of(app, workspace)  # a TestClient's address is no loopback
    assert far.get("/metrics").status_code == 401
    (workspace.home / "metrics.token").write_text("a-token-of-some-length\n")
    assert far.get("/metrics", headers={"Authorization": "Bearer a-token"}).status_code == 401
    assert far.get("/metrics", headers={"Authorization": "Bearer a-token-of-some-length"}).status_code == 200
    assert client_of(app, workspace, "the-viewer").get("/metrics").status_code == 200


def test_the_files_of_the_pages_need_no_session(installed: tuple[Workspace, FastAPI], tmp_path: Path) -> None:
    nobody = client_of(installed[1], installed[0])
    for path in ("/login", "/static/console.css", "/static/texts.js", "/healthz"):
        assert nobody.get(path).status_code == 200
    assert nobody.get("/static/../people.py").status_code in (401, 404)
