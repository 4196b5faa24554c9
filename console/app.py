"""The console as a FastAPI application."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates

from console.api import Clock, make_api
from console.security import LOOPBACK, guard
from data.inspections import InspectionError, get_inspection, list_inspections
from data.loop_status import loop_statuses
from data.workspace import Workspace
from edge_client.contract.errors import AndonError, BucketError, NotFound, Unavailable

_HERE = Path(__file__).parent
KEYS = "1234567890qwertzopfghjklyxvbnm"  # one a class; u, s and c are commands


def create_app(
    workspace: Workspace, *, hosts: frozenset[str] = LOOPBACK, clock: Clock = lambda: datetime.now(UTC)
) -> FastAPI:
    """Build the application for one installation.

    Args:
        workspace: The installation.
        hosts: Host names under which it may be opened.
        clock: Aware time.
    """
    app = FastAPI(title="Andon console", docs_url=None, redoc_url=None)
    app.middleware("http")(guard(hosts))
    templates = Jinja2Templates(_HERE / "templates")
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    app.include_router(make_api(workspace, random=random.SystemRandom(), clock=clock))
    catalog = workspace.catalog()

    def page(request: Request, name: str, **values: Any) -> HTMLResponse:
        shared = {
            "inspections": [i.name for i in list_inspections(catalog)],
            "mlflow_url": workspace.mlflow_url,
            "prefect_url": workspace.prefect_url,
        }
        return templates.TemplateResponse(request, name, {**shared, **values})

    @app.get("/", include_in_schema=False)
    def home() -> Response:
        return RedirectResponse("/loop")

    @app.get("/label", response_class=HTMLResponse, include_in_schema=False)
    def choose(request: Request) -> HTMLResponse:
        return page(request, "choose.html", here="label")

    @app.get("/label/{inspection}", response_class=HTMLResponse, include_in_schema=False)
    def label(request: Request, inspection: str) -> HTMLResponse:
        found = get_inspection(catalog, inspection)
        classes = [
            {"name": c.name, "kind": c.kind.value, "key": KEYS[i] if i < len(KEYS) else ""}
            for i, c in enumerate(found.classes)
        ]
        return page(request, "label.html", here="label", inspection=inspection, classes=classes)

    @app.get("/loop", response_class=HTMLResponse, include_in_schema=False)
    def loop(request: Request) -> HTMLResponse:
        return page(request, "loop.html", here="loop", statuses=[s.to_dict() for s in loop_statuses(catalog)])

    @app.get("/healthz")
    def healthz() -> dict[str, Any]:
        return {"status": "ok", "inspections": len(list_inspections(catalog))}

    @app.exception_handler(AndonError)
    def explained(request: Request, error: AndonError) -> JSONResponse:
        status = 422
        if isinstance(error, NotFound | InspectionError):
            status = 404
        elif isinstance(error, Unavailable):
            status = 503
        elif isinstance(error, BucketError):
            status = 502
        return JSONResponse({"error": str(error)}, status_code=status)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        where = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()[:5])
        return JSONResponse({"error": f"the request is not as expected: {where}"}, status_code=422)

    return app
