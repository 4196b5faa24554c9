"""What the review page calls: what in the labels should be looked at, who said what, and taking it back.

1. A case is a sample with what is wrong about it. Its picture, the model's opinion and what was said are shown; an
   answer is a label event like any other, of the person who reviews (``source`` review).
2. Lists are bounded, with how many there are.
3. How well a person does (golden items, sums, their record) is seen by that person and by approvers: labels are judged
   here, colleagues are not.
4. Taking back what a person said in an interval is shown before it is done, and does what was shown (data.label_undo).
   What others said is taken back by approvers alone, and that is written to the audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Protocol, TypeVar

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from console.labelling import EventId, Who, may_undo_others
from console.people import Labeller, Person
from console.shown import shown
from data.agreement import labellers
from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.current_labels import LabelEvent, LabelKind, standing_events
from data.disagreements import Concord, KeptConcord
from data.golden_items import GoldenAnswer, golden_answers
from data.inspections import get_inspection
from data.label_activity import people, record_page
from data.label_flags import close_flag, count_flags, open_flags
from data.label_reviews import Suspect, suspects
from data.label_undo import preview_undo, undo_labels
from data.queue import items_of
from data.users import Role
from data.users import record as note
from data.workspace import Workspace

CASES = 50  # of one kind, shown at once
RECORD = 60  # answers of a page of the record
Kind = Literal["disagreement", "suspect", "outcome", "flag", "golden"]
Told = tuple[str, dict[str, Any]]  # sample id, and what is wrong about it

Clock = Callable[[], datetime]


class _Whose(Protocol):
    @property
    def who(self) -> str:
        """Of whom it tells."""


Whose = TypeVar("Whose", bound=_Whose)


class Interval(BaseModel):
    """Whose answers, and from when to when."""

    of: Who
    since: AwareDatetime
    until: AwareDatetime


class UndoInterval(Interval):
    """Take back what was shown."""

    event_id: EventId
    expected: Annotated[int, Field(ge=1)]


def make_review_api(workspace: Workspace, *, clock: Clock = lambda: datetime.now(UTC)) -> APIRouter:
    """Make the router."""
    api = APIRouter(prefix="/api")
    catalog = workspace.catalog()
    concords = KeptConcord(catalog)

    @api.get("/{inspection}/review")
    def overview(inspection: str, person: Labeller) -> dict[str, Any]:
        get_inspection(catalog, inspection)
        differing, answers = concords.of(inspection), _seen_by(person, golden_answers(catalog, inspection))
        return {
            "counts": {
                "disagreement": len(differing.open),
                "suspect": suspects(catalog, inspection, by_outcome=False, limit=1)[1],
                "outcome": suspects(catalog, inspection, by_outcome=True, limit=1)[1],
                "flag": count_flags(catalog, inspection),
                "golden": sum(1 for answer in answers if not answer.right),
            },
            "decided": differing.decided,
            "agreement": differing.agreement.to_dict(),
            "labellers": [labeller.to_dict() for labeller in _seen_by(person, labellers(catalog, inspection))],
        }

    @api.get("/{inspection}/review/cases")
    def cases(
        inspection: str, kind: Kind, person: Labeller, offset: Annotated[int, Query(ge=0, le=100_000)] = 0
    ) -> dict[str, Any]:
        get_inspection(catalog, inspection)
        found, count = _cases(catalog, concords, inspection, kind, offset, person)
        return {"kind": kind, "count": count, "cases": _with_samples(catalog, found, clock())}

    @api.get("/{inspection}/review/people")
    def who_labelled(
        inspection: str, person: Labeller, days: Annotated[int, Query(ge=1, le=3650)] = 30
    ) -> list[dict[str, Any]]:
        get_inspection(catalog, inspection)
        found = people(catalog, inspection, since=clock() - timedelta(days=days))
        return [one.to_dict() for one in _seen_by(person, found)]

    @api.get("/{inspection}/review/record")
    def record(
        inspection: str,
        person: Labeller,
        who: Annotated[str | None, Query(min_length=1, max_length=128)] = None,
        before: Annotated[int | None, Query(ge=0)] = None,
    ) -> list[dict[str, Any]]:
        whose = who if person.role.may(Role.APPROVER) else person.name
        get_inspection(catalog, inspection)
        return [one.to_dict() for one in record_page(catalog, inspection, who=whose, before=before, limit=RECORD)]

    @api.post("/{inspection}/review/preview")
    def preview(inspection: str, wanted: Interval, person: Labeller) -> dict[str, Any]:
        get_inspection(catalog, inspection)
        if wanted.of != person.name:
            may_undo_others(person)
        found = preview_undo(catalog, inspection, of=wanted.of, since=wanted.since, until=wanted.until)
        newest = [{"sample_id": event.sample_id, "classes": list(event.classes)} for event in found.newest]
        return {**found.to_dict(), "newest": newest}

    @api.post("/{inspection}/review/undo")
    def undo(inspection: str, wanted: UndoInterval, person: Labeller) -> dict[str, int]:
        get_inspection(catalog, inspection)
        if wanted.of != person.name:
            may_undo_others(person)
        undone = undo_labels(
            catalog,
            event_id=wanted.event_id,
            of=wanted.of,
            since=wanted.since,
            until=wanted.until,
            who=person.name,
            at=clock(),
            inspection=inspection,
            expected=wanted.expected,
        )
        if wanted.of != person.name and undone:
            span = {"since": wanted.since.isoformat(), "until": wanted.until.isoformat()}
            note(
                catalog, "label.undo_interval", who=person.name, role=person.role.value, at=clock(), about=inspection,
                address=person.address, facts={"of": wanted.of, "answers": len(undone), **span},
            )  # fmt: skip
        return {"undone": len(undone)}

    @api.post("/flags/{event_id}/close")
    def close(event_id: EventId, person: Labeller) -> dict[str, Any]:
        return close_flag(catalog, event_id, who=person.name, at=clock()).to_dict()

    return api


def _seen_by(person: Person, rows: Sequence[Whose]) -> list[Whose]:
    """Rule 3."""
    return [row for row in rows if row.who == person.name or person.role.may(Role.APPROVER)]


def _cases(
    catalog: Catalog, concords: KeptConcord, inspection: str, kind: Kind, offset: int, person: Person
) -> tuple[list[Told], int]:
    """Cases of a kind, and how many there are."""
    if kind == "disagreement":
        return _disagreements(concords.of(inspection), offset)
    if kind == "flag":
        flags = open_flags(catalog, inspection, limit=CASES, offset=offset)
        return [(flag.sample_id, flag.to_dict()) for flag in flags], count_flags(catalog, inspection)
    if kind == "golden":
        return _golden(_seen_by(person, golden_answers(catalog, inspection)), offset)
    found, count = suspects(catalog, inspection, by_outcome=kind == "outcome", limit=CASES, offset=offset)
    return [(one.sample_id, _suspect(one)) for one in found], count


def _disagreements(found: Concord, offset: int) -> tuple[list[Told], int]:
    shown_now = found.open[offset : offset + CASES]
    told = [(one.sample_id, {"opinions": [opinion.to_dict() for opinion in one.opinions]}) for one in shown_now]
    return told, len(found.open)


def _golden(answers: Sequence[GoldenAnswer], offset: int) -> tuple[list[Told], int]:
    """Wrong answers, newest first."""
    wrong = [answer for answer in reversed(answers) if not answer.right]
    told: list[Told] = [
        (
            answer.sample_id,
            {
                "who": answer.who,
                "truth": list(answer.truth),
                "said": list(answer.said),
                "at": answer.at.isoformat(),
            },
        )
        for answer in wrong[offset : offset + CASES]
    ]
    return told, len(wrong)


def _suspect(one: Suspect) -> dict[str, Any]:
    return {
        "given": one.given,
        "suggested": one.suggested,
        "confidence": one.confidence,
        "at": one.at.isoformat(),
    }


def _with_samples(catalog: Catalog, told: Sequence[Told], now: datetime) -> list[dict[str, Any]]:
    """Each case with its sample and what people said of it."""
    with catalog.reading() as session:
        ids = list(dict.fromkeys(sample_id for sample_id, _ in told))
        rows = [row for name in ids if (row := session.get(SampleRow, name)) is not None]
        samples = {
            item.sample_id: shown(item) for item in items_of(session, [(row, "review") for row in rows], {}, now)
        }
        said = _said(standing_events(session, ids))
    return [
        {"sample": samples[sample_id], "told": wrong, "said": said.get(sample_id, [])}
        for sample_id, wrong in told
        if sample_id in samples
    ]


def _said(events: Sequence[LabelEvent]) -> Mapping[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.kind is not LabelKind.SKIP:
            found.setdefault(event.sample_id, []).append(
                {
                    "who": event.who,
                    "kind": event.kind.value,
                    "classes": list(event.classes),
                    "at": event.at.isoformat(),
                    "event_id": event.event_id,
                }
            )
    return found
