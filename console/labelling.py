"""What the labelling page calls.

1. An answer names the sample that was shown; the server never guesses which one was meant.
2. An answer has a unique event id: sent again, it is recorded once (data.labels).
3. The answer to a golden item is kept apart: it becomes no label (data.golden_items).
4. What is shown is leased, and the page prolongs it while it is open (data.leases). An answer that comes after somebody
   else's is no second label: the same one is dropped, another one is kept as a flag for the review page.
5. An answer is given in the name of whoever is signed in. One that was given by somebody else in this browser, and kept
   while the console was away, is refused: it waits until they are back.
6. To take back what another person said needs an approver, and is written to the audit log.
7. Nothing that a person waits for reads the lake but the picture itself: similar frames come by a call of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from starlette.exceptions import HTTPException

from console.people import Labeller, Person, needs
from console.shown import shown
from data.batches import batch, batches
from data.catalog import Catalog
from data.catalog.models import LabelEventRow
from data.decisions import list_decisions
from data.disagreements import REVIEW
from data.draw_plan import Planner
from data.draws import Draw
from data.golden_items import answer_golden, golden_due, undo_golden
from data.inspections import add_class, get_inspection
from data.label_activity import given_since
from data.label_flags import MOST_NOTE, raise_flag
from data.labels import LabelEvent, Meanwhile, record_cannot_tell, record_label, record_skip, undo_label
from data.leases import also_here, prolong, release_leases
from data.policy import LabellingPolicy
from data.queue import Uniform, item_of, next_to_label, queue_size, top_up
from data.similar_labelled import SimilarLabelled
from data.users import Role
from data.users import record as note
from data.workspace import Workspace

PAGE_ITEMS = 12  # shown and preloaded ahead of the person
BATCH_ITEMS = 24  # of a grid
_MOST_AT_ONCE = 64

_LABELLER = [needs(Role.LABELLER)]

Clock = Callable[[], datetime]
SampleId = Annotated[str, Field(min_length=1, max_length=64)]
EventId = Annotated[str, Field(min_length=8, max_length=80, pattern=r"^[A-Za-z0-9-]+$")]
Who = Annotated[str, Field(min_length=1, max_length=64)]
Serial = Annotated[int, Field(ge=0)]


class One(BaseModel):
    """A sample as it was shown: what had been said of it by then is not news."""

    sample_id: SampleId
    event_id: EventId
    after: Serial | None = None
    also: list[SampleId] = Field(default_factory=list, max_length=_MOST_AT_ONCE)  # near-duplicates shown with it


class Named(BaseModel):
    """Who gave it, if the page says so (rule 5)."""

    who: Who | None = None


class Answer(One, Named):
    """What a person said of the sample that was shown."""

    kind: Literal["label", "skip", "cannot_tell"] = "label"
    classes: list[str] = Field(default_factory=list, max_length=64)
    source: Literal["console", "review"] = "console"


class Answers(Named):
    """What a person said of many samples at once: those of a grid that were not taken out."""

    classes: list[str] = Field(min_length=1, max_length=64)
    samples: list[One] = Field(min_length=1, max_length=_MOST_AT_ONCE)


class Undo(Named):
    """A person takes answers back; without targets their newest one."""

    event_id: EventId
    target: EventId | None = None
    targets: list[EventId] = Field(default_factory=list, max_length=_MOST_AT_ONCE)


class Holding(BaseModel):
    """Samples on a person's page, each with the newest event on it that the page knows."""

    samples: dict[SampleId, Serial] = Field(max_length=2 * _MOST_AT_ONCE)


class Leaving(BaseModel):
    """Samples that were on a person's page and were not answered."""

    samples: list[SampleId] = Field(max_length=2 * _MOST_AT_ONCE)


class Flag(Named):
    """Somebody should look at this sample."""

    sample_id: SampleId
    event_id: EventId
    note: str = Field(min_length=1, max_length=MOST_NOTE)


class NewClass(BaseModel):
    """A class that the inspection gets."""

    name: str = Field(min_length=1, max_length=128)
    kind: Literal["ok", "defect"]


def make_labelling_api(workspace: Workspace, *, random: Uniform, clock: Clock = lambda: datetime.now(UTC)) -> APIRouter:
    """Make the router; `random` draws samples for labelling when the queue runs low."""
    api = APIRouter()
    catalog = workspace.catalog()
    lake = workspace.lake()
    planner = Planner(catalog, lake)
    similar = SimilarLabelled(catalog, lake)

    def policy() -> LabellingPolicy:
        return workspace.policy().labelling

    @api.get("/{inspection}/next")
    def upcoming(inspection: str, person: Labeller) -> dict[str, Any]:
        get_inspection(catalog, inspection)
        who = person.name
        whole = workspace.policy()
        labelling, drawing = whole.labelling, whole.draw

        def ask(n: int) -> Draw:
            return planner.ask(inspection, n, drawing, random=random, at=clock()).drawn

        top_up(catalog, inspection, labelling, random=random, at=clock(), ask=ask)
        items = next_to_label(
            catalog,
            inspection,
            who,
            PAGE_ITEMS,
            at=clock(),
            lease_seconds=labelling.lease_seconds,
            second_labeller=labelling.second_labeller,
            review_share=drawing.review_share,
        )
        golden = golden_due(catalog, inspection, who, share=drawing.golden_share, random=random, at=clock())
        if golden is not None and items:
            place = int(random.random() * len(items))
            items.insert(place, item_of(golden, "drawn", "", items[0].leased_until, {}, ()))
        return {
            "items": [shown(item) for item in items],
            "waiting": queue_size(catalog, inspection).waiting,
            "lease_seconds": labelling.lease_seconds,
            "here": also_here(catalog, inspection, who, at=clock()),
        }

    @api.get("/{inspection}/asked", dependencies=_LABELLER)
    def asked(inspection: str) -> list[dict[str, Any]]:
        """What the gate asks for, and how much of that came since."""
        get_inspection(catalog, inspection)
        newest = next(iter(list_decisions(catalog, inspection)), None)
        if newest is None or not newest.label_more:
            return []
        given = given_since(catalog, inspection, newest.at)
        return [
            {"name": name, "asked": count, "given": given.get(name, 0)} for name, count in newest.label_more.items()
        ]

    @api.get("/{inspection}/similar/{sample_id}", dependencies=_LABELLER)
    def similar_to(inspection: str, sample_id: str) -> dict[str, Any]:
        found = similar.nearest(sample_id)
        return {
            "frames": [
                {"sample_id": one.sample_id, "classes": list(one.classes), "similarity": round(one.similarity, 4)}
                for one in found.frames
            ],
            "compared": found.compared,
            "unread": found.unread,
        }

    @api.get("/{inspection}/batches")
    def grids(inspection: str, person: Labeller) -> dict[str, int]:
        return batches(catalog, inspection, person.name, at=clock())

    @api.get("/{inspection}/batch")
    def grid(
        inspection: str,
        person: Labeller,
        of: Annotated[str, Query(min_length=1, max_length=128)],
    ) -> dict[str, Any]:
        seconds = policy().lease_seconds
        items = batch(catalog, inspection, person.name, of, BATCH_ITEMS, at=clock(), lease_seconds=seconds)
        return {"items": [shown(item) for item in items]}

    @api.post("/{inspection}/hold")
    def hold(inspection: str, holding: Holding, person: Labeller) -> dict[str, Any]:
        get_inspection(catalog, inspection)
        held = prolong(
            catalog, inspection, person.name, holding.samples, at=clock(), lease_seconds=policy().lease_seconds
        )
        return {
            "until": held.until.isoformat(),
            "lost": {name: {"who": lost.who, "settled": lost.settled} for name, lost in held.lost.items()},
            "here": also_here(catalog, inspection, person.name, at=clock()),
        }

    @api.post("/{inspection}/leave")
    def leave(inspection: str, leaving: Leaving, person: Labeller) -> dict[str, Any]:
        get_inspection(catalog, inspection)
        release_leases(catalog, person.name, leaving.samples)
        return {"left": len(leaving.samples)}

    @api.post("/{inspection}/classes", dependencies=[needs(Role.LABELLER, does="class.add")])
    def new_class(inspection: str, wanted: NewClass) -> dict[str, Any]:
        info = add_class(catalog, inspection, wanted.name.strip(), wanted.kind)
        return {"classes": [{"name": c.name, "kind": c.kind.value} for c in info.classes]}

    def record(one: One, who: str, kind: str, classes: list[str], source: str = "console") -> dict[str, Any]:
        at = clock()
        if source != REVIEW and answer_golden(
            catalog, sample_id=one.sample_id, who=who, event_id=one.event_id, classes=classes, at=at
        ):
            return {"event_id": one.event_id, "sample_id": one.sample_id, "kind": kind}
        try:
            event = _recorded(one, who, kind, classes, at, source)
        except Meanwhile as meanwhile:
            return _came_late(one, who, kind, classes, at, meanwhile.event)
        return {"event_id": event.event_id, "sample_id": event.sample_id, "kind": event.kind.value}

    def _recorded(one: One, who: str, kind: str, classes: list[str], at: datetime, source: str) -> LabelEvent:
        if kind == "skip":
            return record_skip(catalog, sample_id=one.sample_id, who=who, event_id=one.event_id, at=at)
        if kind == "cannot_tell":
            return record_cannot_tell(
                catalog,
                sample_id=one.sample_id,
                who=who,
                event_id=one.event_id,
                at=at,
                source=source,
                after=one.after,
            )
        return record_label(
            catalog,
            sample_id=one.sample_id,
            classes=classes,
            who=who,
            event_id=one.event_id,
            at=at,
            source=source,
            also=one.also,
            after=one.after,
        )

    def _came_late(
        one: One, who: str, kind: str, classes: list[str], at: datetime, first: LabelEvent
    ) -> dict[str, Any]:
        """Rule 4."""
        if (first.kind.value, first.classes) != (kind, tuple(sorted(set(classes)))):
            raise_flag(
                catalog,
                sample_id=one.sample_id,
                who=who,
                event_id=one.event_id,
                note=f"came after {first.who}'s answer ({'+'.join(first.classes) or first.kind.value})",
                said=classes,
                at=at,
            )
        said = {"who": first.who, "kind": first.kind.value, "classes": list(first.classes)}
        return {"event_id": one.event_id, "sample_id": one.sample_id, "kind": kind, "meanwhile": said}

    @api.post("/labels")
    def answer(said: Answer, person: Labeller) -> dict[str, Any]:
        own(said.who, person)
        return record(said, person.name, said.kind, said.classes if said.kind == "label" else [], said.source)

    @api.post("/labels/batch")
    def answer_many(said: Answers, person: Labeller) -> list[dict[str, Any]]:
        own(said.who, person)
        return [record(one, person.name, "label", said.classes) for one in said.samples]

    @api.post("/undo")
    def undo(said: Undo, person: Labeller) -> dict[str, Any]:
        own(said.who, person)
        targets: list[str | None] = [*said.targets] or [said.target]
        others = {target: who for target in targets if (who := _of_another(catalog, target, person)) is not None}
        if others:
            may_undo_others(person)
        undone: list[str | None] = []
        samples: list[str | None] = []
        for n, target in enumerate(targets):
            golden = undo_golden(catalog, target=target, who=person.name) if target else None
            if golden is not None:
                undone, samples = [*undone, target], [*samples, golden]
                continue
            event_id = said.event_id if len(targets) == 1 else f"{said.event_id}-{n}"
            event = undo_label(catalog, event_id=event_id, who=person.name, at=clock(), target=target)
            undone.append(event.undoes if event else None)
            samples.append(event.sample_id if event else None)
            if event is not None and target in others:
                told_undo(person, about=event.sample_id, of=others[target], event=target)
        return {"undone": undone[0], "sample_id": samples[0], "samples": samples}

    def told_undo(person: Person, *, about: str, of: str, **facts: Any) -> None:
        note(
            catalog, "label.undo", who=person.name, role=person.role.value, at=clock(), about=about,
            address=person.address, facts={"of": of, **facts},
        )  # fmt: skip

    @api.post("/flags")
    def flag(said: Flag, person: Labeller) -> dict[str, Any]:
        own(said.who, person)
        return raise_flag(
            catalog, sample_id=said.sample_id, who=person.name, event_id=said.event_id, note=said.note, at=clock()
        ).to_dict()

    return api


def may_undo_others(person: Person) -> None:
    """Refuse to take back another person's answer to who may not (rule 6)."""
    if not person.role.may(Role.APPROVER):
        raise HTTPException(403, f"taking back what others said needs the role approver; {person.name} has not got it")


def own(who: str | None, person: Person) -> None:
    """Refuse what somebody else gave (rule 5)."""
    if who is not None and who != person.name:
        raise HTTPException(409, f"this answer was given by {who}, and {person.name} is signed in")


def _of_another(catalog: Catalog, target: str | None, person: Person) -> str | None:
    """Who gave the answer that is to be taken back, if it was somebody else."""
    if target is None:
        return None
    with catalog.reading() as session:
        who = session.scalar(select(LabelEventRow.who).where(LabelEventRow.event_id == target))
    return who if who != person.name else None
