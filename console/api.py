"""The JSON calls behind the pages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from console.overlay import draw_overlay
from console.samples import Pictures
from data.inspections import get_inspection, list_inspections
from data.labels import record_cannot_tell, record_label, record_skip, undo_label
from data.loop_status import loop_statuses
from data.queue import QueueItem, next_to_label, queue_size, top_up
from data.workspace import Workspace

PAGE_ITEMS = 8  # shown and preloaded ahead of the person
LIVE_SECONDS = 3.0
_NEVER_CHANGES = {"Cache-Control": "private, max-age=86400, immutable"}

Clock = Callable[[], datetime]
SampleId = Annotated[str, Field(min_length=1, max_length=64)]
EventId = Annotated[str, Field(min_length=8, max_length=80, pattern=r"^[A-Za-z0-9-]+$")]
Who = Annotated[str, Field(min_length=1, max_length=64)]


class Answer(BaseModel):
    """What a person said of the sample that was shown."""

    sample_id: SampleId
    event_id: EventId
    who: Who
    kind: str = Field(default="label", pattern="^(label|skip|cannot_tell)$")
    classes: list[str] = Field(default_factory=list, max_length=64)


class Undo(BaseModel):
    """A person takes an answer back; without a target their newest one."""

    event_id: EventId
    who: Who
    target: EventId | None = None


def make_api(workspace: Workspace, *, random: Any, clock: Clock = lambda: datetime.now(UTC)) -> APIRouter:
    """Make the router; `random` draws samples for labelling when the queue runs low."""
    api = APIRouter(prefix="/api")
    catalog = workspace.catalog()
    pictures = Pictures(catalog, workspace.lake())

    @api.get("/inspections")
    def inspections() -> list[dict[str, Any]]:
        return [
            {"name": i.name, "classes": [{"name": c.name, "kind": c.kind.value} for c in i.classes]}
            for i in list_inspections(catalog)
        ]

    @api.get("/inspections/{inspection}/next")
    def upcoming(inspection: str, who: str = Query(min_length=1, max_length=64)) -> dict[str, Any]:
        get_inspection(catalog, inspection)
        policy = workspace.policy().labelling
        top_up(catalog, inspection, policy, random=random, at=clock())
        items = next_to_label(
            catalog,
            inspection,
            who,
            PAGE_ITEMS,
            at=clock(),
            lease_seconds=policy.lease_seconds,
            second_labeller=policy.second_labeller,
        )
        return {"items": [_shown(item) for item in items], "waiting": queue_size(catalog, inspection).waiting}

    @api.post("/labels")
    def answer(said: Answer) -> dict[str, Any]:
        common = {"sample_id": said.sample_id, "who": said.who, "event_id": said.event_id, "at": clock()}
        if said.kind == "label":
            event = record_label(catalog, classes=said.classes, **common)  # type: ignore[arg-type]
        elif said.kind == "skip":
            event = record_skip(catalog, **common)  # type: ignore[arg-type]
        else:
            event = record_cannot_tell(catalog, **common)  # type: ignore[arg-type]
        return {"event_id": event.event_id, "sample_id": event.sample_id, "kind": event.kind.value}

    @api.post("/undo")
    def undo(said: Undo) -> dict[str, Any]:
        event = undo_label(catalog, event_id=said.event_id, who=said.who, at=clock(), target=said.target)
        return {"undone": event.undoes if event else None, "sample_id": event.sample_id if event else None}

    @api.get("/samples/{sample_id}/image")
    def image(sample_id: str) -> Response:
        data, media_type = pictures.image(sample_id)
        return Response(data, media_type=media_type, headers=_NEVER_CHANGES)

    @api.get("/samples/{sample_id}/overlay.png")
    def overlay(sample_id: str) -> Response:
        return Response(draw_overlay(pictures.anomaly_map(sample_id)), media_type="image/png", headers=_NEVER_CHANGES)

    @api.get("/loop")
    def loop() -> list[dict[str, Any]]:
        return [status.to_dict() for status in loop_statuses(catalog)]

    @api.get("/loop/live")
    async def live(request: Request) -> StreamingResponse:
        async def changes() -> AsyncIterator[str]:
            before = ""
            while not await request.is_disconnected():
                now = json.dumps(await asyncio.to_thread(loop))
                yield f"data: {now}\n\n" if now != before else ": nothing new\n\n"
                before = now
                await asyncio.sleep(LIVE_SECONDS)

        return StreamingResponse(changes(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return api


def _shown(item: QueueItem) -> dict[str, Any]:
    return {
        "sample_id": item.sample_id,
        "why": item.why,
        "reason": item.reason,
        "captured_at": item.captured_at.isoformat(),
        "device": item.device,
        "station": item.station,
        "part_id": item.part_id,
        "opinion": [{"name": n, "probability": p} for n, p in zip(item.classes, item.probabilities, strict=False)],
        "anomaly": item.anomaly,
        "verdict": item.verdict,
        "reasons": dict(item.reasons),
        "context": dict(item.context),
        "leased_until": item.leased_until.isoformat(),
    }
