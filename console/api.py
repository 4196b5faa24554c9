"""The JSON calls behind the pages.

1. An answer names the sample that was shown; the server never guesses which one was meant.
2. An answer has a unique event id: sent again, it is recorded once (data.labels).
3. The answer to a golden item is kept apart: it becomes no label (data.golden_items).
4. An answer is given in the name of whoever is signed in. One that was given by somebody else in this browser, and kept
   while the console was away, is refused: it waits until they are back.
5. To take back what another person said needs an approver, and is written to the audit log.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from sqlalchemy import select
from starlette.exceptions import HTTPException

from console.live import LiveStatus
from console.overlay import draw_overlay
from console.people import Labeller, Person, needs
from console.samples import Pictures
from data.catalog import Catalog
from data.catalog.models import LabelEventRow
from data.draw_plan import Planner
from data.draws import Draw
from data.golden_items import answer_golden, golden_due, undo_golden
from data.inspections import get_inspection, list_inspections
from data.labels import record_cannot_tell, record_label, record_skip, undo_label
from data.queue import QueueItem, Uniform, item_of, next_to_label, queue_size, top_up
from data.users import Role, record
from data.workspace import Workspace

PAGE_ITEMS = 12  # shown and preloaded ahead of the person
_NEVER_CHANGES = {"Cache-Control": "private, max-age=86400, immutable"}
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp"})

Clock = Callable[[], datetime]
SampleId = Annotated[str, Field(min_length=1, max_length=64)]
EventId = Annotated[str, Field(min_length=8, max_length=80, pattern=r"^[A-Za-z0-9-]+$")]
Who = Annotated[str, Field(min_length=1, max_length=64)]


class Answer(BaseModel):
    """What a person said of the sample that was shown."""

    sample_id: SampleId
    event_id: EventId
    who: Who | None = None  # who gave it, if the page says so (rule 4)
    kind: Literal["label", "skip", "cannot_tell"] = "label"
    classes: list[str] = Field(default_factory=list, max_length=64)
    also: list[SampleId] = Field(default_factory=list, max_length=64)  # near-duplicates that were shown with it


class Undo(BaseModel):
    """A person takes an answer back; without a target their newest one."""

    event_id: EventId
    who: Who | None = None
    target: EventId | None = None


def make_api(
    workspace: Workspace, live: LiveStatus, *, random: Uniform, clock: Clock = lambda: datetime.now(UTC)
) -> APIRouter:
    """Make the router; `random` draws samples for labelling when the queue runs low."""
    api = APIRouter(prefix="/api")
    catalog = workspace.catalog()
    lake = workspace.lake()
    pictures = Pictures(catalog, lake)
    planner = Planner(catalog, lake)

    @api.get("/inspections", dependencies=[needs(Role.VIEWER)])
    def inspections() -> list[dict[str, Any]]:
        return [
            {"name": i.name, "classes": [{"name": c.name, "kind": c.kind.value} for c in i.classes]}
            for i in list_inspections(catalog)
        ]

    @api.get("/loop", dependencies=[needs(Role.VIEWER)])
    def loop() -> list[dict[str, Any]]:
        return live.now()

    @api.get("/loop/live", dependencies=[needs(Role.VIEWER)])
    async def follow(request: Request) -> StreamingResponse:
        return StreamingResponse(
            live.events(request), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    @api.get("/image/{sample_id}", dependencies=[needs(Role.VIEWER)])
    def image(sample_id: str) -> Response:
        data, media_type = pictures.image(sample_id)
        shown = media_type if media_type in _PICTURES else "application/octet-stream"
        return Response(data, media_type=shown, headers=_NEVER_CHANGES)

    @api.get("/overlay/{sample_id}.png", dependencies=[needs(Role.VIEWER)])
    def overlay(sample_id: str) -> Response:
        return Response(draw_overlay(pictures.anomaly_map(sample_id)), media_type="image/png", headers=_NEVER_CHANGES)

    @api.get("/{inspection}/next")
    def upcoming(inspection: str, person: Labeller) -> dict[str, Any]:
        get_inspection(catalog, inspection)
        who = person.name
        whole = workspace.policy()
        policy, drawing = whole.labelling, whole.draw

        def ask(n: int) -> Draw:
            return planner.ask(inspection, n, drawing, random=random, at=clock()).drawn

        top_up(catalog, inspection, policy, random=random, at=clock(), ask=ask)
        items = next_to_label(
            catalog,
            inspection,
            who,
            PAGE_ITEMS,
            at=clock(),
            lease_seconds=policy.lease_seconds,
            second_labeller=policy.second_labeller,
            review_share=drawing.review_share,
        )
        golden = golden_due(catalog, inspection, who, share=drawing.golden_share, random=random, at=clock())
        if golden is not None and items:
            place = int(random.random() * len(items))
            items.insert(place, item_of(golden, "drawn", "", items[0].leased_until, {}, ()))
        return {"items": [_shown(item) for item in items], "waiting": queue_size(catalog, inspection).waiting}

    @api.post("/labels")
    def answer(said: Answer, person: Labeller) -> dict[str, Any]:
        _own(said.who, person)
        sample_id, who, event_id, at = said.sample_id, person.name, said.event_id, clock()
        given = said.classes if said.kind == "label" else []
        if answer_golden(catalog, sample_id=sample_id, who=who, event_id=event_id, classes=given, at=at):
            return {"event_id": event_id, "sample_id": sample_id, "kind": said.kind}
        if said.kind == "label":
            event = record_label(
                catalog, sample_id=sample_id, classes=given, who=who, event_id=event_id, at=at, also=said.also
            )
        elif said.kind == "skip":
            event = record_skip(catalog, sample_id=sample_id, who=who, event_id=event_id, at=at)
        else:
            event = record_cannot_tell(catalog, sample_id=sample_id, who=who, event_id=event_id, at=at)
        return {"event_id": event.event_id, "sample_id": event.sample_id, "kind": event.kind.value}

    @api.post("/undo")
    def undo(said: Undo, person: Labeller) -> dict[str, Any]:
        _own(said.who, person)
        golden = undo_golden(catalog, target=said.target, who=person.name) if said.target else None
        if golden is not None:
            return {"undone": said.target, "sample_id": golden}
        other = _of_another(catalog, said.target, person)
        if other is not None:
            may_undo_others(person)
        event = undo_label(catalog, event_id=said.event_id, who=person.name, at=clock(), target=said.target)
        if other is not None and event is not None:
            record(
                catalog, "label.undo", who=person.name, role=person.role.value, at=clock(), about=event.sample_id,
                address=person.address, facts={"of": other, "event": said.target},
            )  # fmt: skip
        return {"undone": event.undoes if event else None, "sample_id": event.sample_id if event else None}

    return api


def may_undo_others(person: Person) -> None:
    """Refuse to take back another person's answer to who may not (rule 5)."""
    if not person.role.may(Role.APPROVER):
        raise HTTPException(403, f"taking back what others said needs the role approver; {person.name} has not got it")


def _own(who: str | None, person: Person) -> None:
    if who is not None and who != person.name:
        raise HTTPException(409, f"this answer was given by {who}, and {person.name} is signed in")


def _of_another(catalog: Catalog, target: str | None, person: Person) -> str | None:
    """Who gave the answer that is to be taken back, if it was somebody else."""
    if target is None:
        return None
    with catalog.reading() as session:
        who = session.scalar(select(LabelEventRow.who).where(LabelEventRow.event_id == target))
    return who if who != person.name else None


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
        "chosen": dict(item.chosen),
        "like": list(item.like),
        "leased_until": item.leased_until.isoformat(),
    }
