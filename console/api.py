"""The JSON calls that several pages make: inspections, the loop, pictures.

What the labelling page calls is in :mod:`console.labelling`, what the review page calls in :mod:`console.review`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from console.labelling import make_labelling_api
from console.live import LiveStatus
from console.overlay import draw_overlay
from console.people import needs
from console.samples import Pictures
from data.inspections import list_inspections
from data.queue import Uniform
from data.users import Role
from data.workspace import Workspace

_NEVER_CHANGES = {"Cache-Control": "private, max-age=86400, immutable"}
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp"})

_VIEWER = [needs(Role.VIEWER)]

Clock = Callable[[], datetime]


def make_api(
    workspace: Workspace, live: LiveStatus, *, random: Uniform, clock: Clock = lambda: datetime.now(UTC)
) -> APIRouter:
    """Make the router; `random` draws samples for labelling when the queue runs low."""
    api = APIRouter(prefix="/api")
    catalog = workspace.catalog()
    pictures = Pictures(catalog, workspace.lake())

    @api.get("/inspections", dependencies=_VIEWER)
    def inspections() -> list[dict[str, Any]]:
        return [
            {"name": i.name, "classes": [{"name": c.name, "kind": c.kind.value} for c in i.classes]}
            for i in list_inspections(catalog)
        ]

    @api.get("/loop", dependencies=_VIEWER)
    def loop() -> list[dict[str, Any]]:
        return live.now()

    @api.get("/loop/live", dependencies=_VIEWER)
    async def follow(request: Request) -> StreamingResponse:
        return StreamingResponse(
            live.events(request), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    @api.get("/image/{sample_id}", dependencies=_VIEWER)
    def image(sample_id: str) -> Response:
        data, media_type = pictures.image(sample_id)
        shown = media_type if media_type in _PICTURES else "application/octet-stream"
        return Response(data, media_type=shown, headers=_NEVER_CHANGES)

    @api.get("/overlay/{sample_id}.png", dependencies=_VIEWER)
    def overlay(sample_id: str) -> Response:
        return Response(draw_overlay(pictures.anomaly_map(sample_id)), media_type="image/png", headers=_NEVER_CHANGES)

    api.include_router(make_labelling_api(workspace, random=random, clock=clock))
    return api
