"""The console as a FastAPI application.

/                      the inspections
/label/<inspection>    labelling by keyboard
/loop                  how the loop is doing, live
/review                what in the labels should be looked at, and who said what
/fleet                 the devices: sites, health, versions, who is silent
/causes                what goes with which defects
/drift                 whether the line still looks as it did
/rollouts              which version is on its way to whom
/healthz               for the supervisor
/metrics               the fleet's counts, for Prometheus
/api/…                 what the pages call: console/api.py
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates

from console.api import Clock, make_api
from console.causes import CausesView, make_causes_api
from console.drift import make_drift_api
from console.errors import explain_errors
from console.fleet import make_fleet_api
from console.live import LiveStatus
from console.review import make_review_api
from console.rollouts import make_rollouts_api
from console.security import LOOPBACK, Guard
from data.causes.wording import CAUTION
from data.inspections import get_inspection, list_inspections
from data.workspace import Workspace

_HERE = Path(__file__).parent
KEYS = "1234567890qwertzopjklyxvb"  # one a class; the other letters are commands of the labelling page


def create_app(
    workspace: Workspace, *, hosts: frozenset[str] = LOOPBACK, clock: Clock = lambda: datetime.now(UTC)
) -> FastAPI:
    """Build the application for one installation.

    Args:
        workspace: The installation.
        hosts: Host names under which it may be opened.
        clock: Aware time.
    """
    app = FastAPI(title="Andon console", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, hosts=hosts)
    explain_errors(app)
    templates = Jinja2Templates(_HERE / "templates")
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    catalog = workspace.catalog()
    live = LiveStatus(catalog, outcomes=lambda: workspace.policy().outcomes)
    app.state.live = live
    app.include_router(make_api(workspace, live, random=random.SystemRandom(), clock=clock))
    app.include_router(make_causes_api(CausesView(workspace, clock=clock)))
    app.include_router(make_drift_api(workspace, clock=clock))
    app.include_router(make_fleet_api(workspace, clock=clock))
    app.include_router(make_review_api(workspace, clock=clock))
    app.include_router(make_rollouts_api(workspace, clock=clock))

    def page(request: Request, name: str, **values: Any) -> HTMLResponse:
        shared = {
            "inspections": [i.name for i in list_inspections(catalog)],
            "mlflow_url": workspace.mlflow_url,
            "prefect_url": workspace.prefect_url,
        }
        return templates.TemplateResponse(request, name, {**shared, **values}, headers={"Cache-Control": "no-store"})

    @app.get("/", response_class=HTMLResponse)
    def home(request: Request) -> HTMLResponse:
        return page(request, "inspections.html", here="home", statuses=live.now())

    @app.get("/label")
    def choose() -> Response:
        return RedirectResponse("/")

    @app.get("/label/{inspection}", response_class=HTMLResponse)
    def label(request: Request, inspection: str) -> HTMLResponse:
        found = get_inspection(catalog, inspection)
        classes = [
            {"name": c.name, "kind": c.kind.value, "key": KEYS[i] if i < len(KEYS) else ""}
            for i, c in enumerate(found.classes)
        ]
        return page(request, "label.html", here="label", inspection=inspection, classes=classes)

    @app.get("/review", response_class=HTMLResponse)
    def review(request: Request) -> HTMLResponse:
        classes = {
            info.name: [
                {"name": c.name, "kind": c.kind.value, "key": KEYS[i] if i < len(KEYS) else ""}
                for i, c in enumerate(info.classes)
            ]
            for info in list_inspections(catalog)
        }
        return page(request, "review.html", here="review", classes=classes)

    @app.get("/loop", response_class=HTMLResponse)
    def loop(request: Request) -> HTMLResponse:
        return page(request, "loop.html", here="loop", statuses=live.now())

    @app.get("/causes", response_class=HTMLResponse)
    def causes(request: Request) -> HTMLResponse:
        return page(request, "causes.html", here="causes", caution=CAUTION)

    @app.get("/drift", response_class=HTMLResponse)
    def drift(request: Request) -> HTMLResponse:
        return page(request, "drift.html", here="drift")

    @app.get("/fleet", response_class=HTMLResponse)
    def fleet(request: Request) -> HTMLResponse:
        return page(request, "fleet.html", here="fleet")

    @app.get("/rollouts", response_class=HTMLResponse)
    def rollouts(request: Request) -> HTMLResponse:
        return page(request, "rollouts.html", here="rollouts")

    @app.get("/healthz")
    def healthz() -> dict[str, Any]:
        return {"status": "ok", "inspections": len(list_inspections(catalog))}

    return app
