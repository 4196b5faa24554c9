"""The console as a FastAPI application.

/login                 signing in; /login/provider: through an identity provider
/account               one's own password and language; /users and /audit-log: for admins
/                      the inspections
/label/<inspection>    labelling by keyboard
/loop                  how the loop is doing, live
/review                what in the labels should be looked at, and who said what
/fleet                 the devices: sites, health, versions, who is silent
/causes                what goes with which defects
/drift                 whether the line still looks as it did
/rollouts              which version is on its way to whom
/models/<inspection>   champion and challenger, why the gate said so; promote, hold, roll back
/field                 defect rates over time and by place, recall, precision, drift
/value                 what the loop brought, in the plant's own prices; prints
/healthz               for the supervisor
/metrics               the fleet's counts, for Prometheus
/api/…                 what the pages call: console/api.py

Every route and page states the least role that it needs (console/people.py), or the application does not start.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from console.api import Clock, make_api
from console.causes import CausesView, make_causes_api
from console.drift import make_drift_api
from console.errors import explain_errors
from console.field import make_field_api
from console.fleet import make_fleet_api
from console.live import LiveStatus
from console.model_registry import registry_view
from console.models import make_models_api
from console.pages import Pages, make_texts_script, reader_of
from console.people import check_declared, needs
from console.provider import Provider
from console.provider_sign_in import ends_at, make_provider_api
from console.review import make_review_api
from console.rollouts import make_rollouts_api
from console.security import LOOPBACK, Guard
from console.session_guard import SessionGuard
from console.sign_in import Door, make_sign_in_api
from console.sign_in_pages import make_sign_in_pages
from console.users import make_users_api
from console.value import make_value_api
from data.causes.wording import caution
from data.inspections import Inspection, get_inspection, list_inspections
from data.users import Role
from data.workspace import Workspace

_HERE = Path(__file__).parent
KEYS = "1234567890qwertzopjklyxvb"  # one a class; the other letters are commands of the labelling page
VIEWER, LABELLER = [needs(Role.VIEWER)], [needs(Role.LABELLER)]


def create_app(
    workspace: Workspace, *, hosts: frozenset[str] = LOOPBACK, clock: Clock = lambda: datetime.now(UTC)
) -> FastAPI:
    """Build the application for one installation.

    Args:
        workspace: The installation.
        hosts: Host names under which it may be opened.
        clock: Aware time.
    """
    catalog = workspace.catalog()
    app = FastAPI(title="Andon console", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(SessionGuard, catalog=catalog, clock=clock, policy=lambda: workspace.policy().access)
    app.add_middleware(Guard, hosts=hosts)  # the outermost
    explain_errors(app)
    app.include_router(make_texts_script())
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    live = LiveStatus(catalog, outcomes=lambda: workspace.policy().outcomes)
    app.state.live, app.state.catalog, app.state.clock = live, catalog, clock
    door = Door(catalog, workspace, clock)
    page = Pages(workspace).page
    stated = workspace.identity_provider
    provider = None if stated is None else Provider(stated)
    app.include_router(make_sign_in_pages(catalog, page, stated))
    app.include_router(make_provider_api(workspace, provider, door, clock=clock))
    app.include_router(
        make_sign_in_api(
            catalog, door, clock=clock, passwords=stated is None or stated.local_login,
            ends_at=lambda request, issuer: ends_at(workspace, provider, request, issuer),
        )
    )  # fmt: skip
    app.include_router(make_users_api(catalog, page, clock=clock))
    app.include_router(make_api(workspace, live, random=random.SystemRandom(), clock=clock))
    app.include_router(make_causes_api(CausesView(workspace, clock=clock)))
    app.include_router(make_drift_api(workspace, clock=clock))
    app.include_router(make_fleet_api(workspace, clock=clock))
    app.include_router(make_review_api(workspace, clock=clock))
    app.include_router(make_rollouts_api(workspace, clock=clock))
    app.include_router(make_models_api(workspace, page, registry_view(workspace.mlflow_url), clock=clock))
    app.include_router(make_field_api(workspace, page, clock=clock))
    app.include_router(make_value_api(workspace, page, clock=clock))

    @app.get("/", response_class=HTMLResponse, dependencies=VIEWER)
    def home(request: Request) -> HTMLResponse:
        return page(request, "inspections.html", here="home", statuses=live.soon())

    @app.get("/label", dependencies=LABELLER)
    def choose() -> Response:
        known = [each.name for each in list_inspections(catalog)]
        return RedirectResponse(f"/label/{known[0]}" if len(known) == 1 else "/")

    @app.get("/label/{inspection}", response_class=HTMLResponse, dependencies=LABELLER)
    def label(request: Request, inspection: str) -> HTMLResponse:
        classes = _keyed(get_inspection(catalog, inspection))
        return page(request, "label.html", here="label", inspection=inspection, classes=classes)

    @app.get("/review", response_class=HTMLResponse, dependencies=LABELLER)
    def review(request: Request) -> HTMLResponse:
        classes = {info.name: _keyed(info) for info in list_inspections(catalog)}
        return page(request, "review.html", here="review", classes=classes)

    @app.get("/loop", response_class=HTMLResponse, dependencies=VIEWER)
    def loop(request: Request) -> HTMLResponse:
        return page(request, "loop.html", here="loop", statuses=live.soon())

    @app.get("/causes", response_class=HTMLResponse, dependencies=VIEWER)
    def causes(request: Request) -> HTMLResponse:
        return page(request, "causes.html", here="causes", caution=caution(reader_of(request)[1]))

    @app.get("/drift", response_class=HTMLResponse, dependencies=VIEWER)
    def drift(request: Request) -> HTMLResponse:
        return page(request, "drift.html", here="drift")

    @app.get("/fleet", response_class=HTMLResponse, dependencies=VIEWER)
    def fleet(request: Request) -> HTMLResponse:
        return page(request, "fleet.html", here="fleet")

    @app.get("/rollouts", response_class=HTMLResponse, dependencies=VIEWER)
    def rollouts(request: Request) -> HTMLResponse:
        return page(request, "rollouts.html", here="rollouts")

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        list_inspections(catalog)  # the database answers
        return {"status": "ok"}

    check_declared(app)
    return app


def _keyed(info: Inspection) -> list[dict[str, str]]:
    """An inspection's classes, each with its key."""
    return [
        {"name": c.name, "kind": c.kind.value, "key": KEYS[i] if i < len(KEYS) else ""}
        for i, c in enumerate(info.classes)
    ]
