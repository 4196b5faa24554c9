"""The page of drift: of every device what it is compared with, how near an alarm it is, and its alarms.

1. An alarm is shown with its likely cause, frames from before and after, and what followed by policy.
2. Closing one is what `andon drift --mended` and `--new-normal` do, in the name of whoever does it.
3. What comes from the line goes out as JSON; the page puts it in as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from sqlalchemy import func, select

from console.people import Person, needs
from data.catalog import Catalog
from data.catalog.models import LabelEventRow
from data.decisions import list_decisions
from data.devices import list_devices
from data.drift.alarms import DriftAlarm, list_alarms
from data.drift.course import MOST_POINTS, KeptCourses, Point
from data.drift.examples import examples_of
from data.drift.watches import close_alarm, watched_devices
from data.inspections import get_inspection
from data.labels import LabelKind
from data.policy import DriftPolicy
from data.users import Role
from data.workspace import Workspace

SHOWN_DAYS = 60  # of a course
ALL_POINTS, LEAST_POINTS = 10_000, 40  # of all courses together, a megabyte; and of each, however many there are
MOST_ALARMS = 20
Closer = Annotated[Person, needs(Role.APPROVER, does="drift.close")]
AlarmId = Annotated[int, Path(ge=1, le=1 << 62)]


class Closing(BaseModel):
    """What a person found out about an alarm."""

    new_normal: bool
    note: Annotated[str, Field(max_length=500)] = ""


def make_drift_api(workspace: Workspace, *, clock: Callable[[], datetime]) -> APIRouter:
    """Make the router."""
    api = APIRouter(prefix="/api")
    catalog = workspace.catalog()
    courses = KeptCourses(catalog)

    @api.get("/{inspection}/drift", dependencies=[needs(Role.VIEWER)])
    def drift(inspection: str) -> dict[str, Any]:
        return told(catalog, courses, inspection, workspace.policy().drift, now=clock())

    @api.post("/{inspection}/drift/{alarm}/close")
    def close(inspection: str, alarm: AlarmId, said: Closing, person: Closer) -> dict[str, Any]:
        person.tell(new_normal=said.new_normal, detail=said.note.strip())
        closed = close_alarm(
            catalog,
            alarm,
            inspection=inspection,
            who=person.name,
            at=clock(),
            new_normal=said.new_normal,
            note=said.note.strip(),
        )
        return closed.to_dict()

    return api


def told(
    catalog: Catalog, courses: KeptCourses, inspection: str, policy: DriftPolicy, *, now: datetime
) -> dict[str, Any]:
    """Everything the page shows of one inspection.

    Raises:
        InspectionError: Unknown inspection.
    """
    name = get_inspection(catalog, inspection).name
    alarms = list_alarms(catalog, name, limit=MOST_ALARMS)
    stations = {device.name: device.station for device in list_devices(catalog, name)}
    watched = watched_devices(catalog, name)
    newest = max((device.seen_at for device in watched if device.seen_at is not None), default=now)
    most = max(LEAST_POINTS, min(MOST_POINTS, ALL_POINTS // max(1, len(watched))))
    course = courses.of(name, since=min(newest, now) - timedelta(days=SHOWN_DAYS), most=most)
    watches = []
    for device in watched:
        points = course.get((device.name, device.kind), [])
        own = [alarm for alarm in alarms if (alarm.device, alarm.kind) == (device.name, device.kind)]
        is_open = next((alarm for alarm in own if alarm.closed_at is None), None)
        watches.append(
            {
                **device.to_dict(),
                "station": stations.get(device.name, ""),
                "state": "alarm" if is_open else "watched" if device.ready else "learning",
                "since": _since(is_open, points, own),
                "course": [each.to_dict() for each in points],
                "alarms": [{"id": alarm.id, "at": alarm.window_at.isoformat()} for alarm in own],
            }
        )
    return {
        "inspection": name,
        "watch": policy.watch,
        "watches": watches,
        "alarms": [
            {
                **alarm.to_dict(),
                "examples": examples_of(catalog, alarm).to_dict(),
                "followed": followed(catalog, alarm, policy),
            }
            for alarm in alarms
        ],
        "open": sum(1 for alarm in alarms if alarm.closed_at is None),
        "false_alarms_per_year": policy.false_alarms_per_year,
    }


def followed(catalog: Catalog, alarm: DriftAlarm, policy: DriftPolicy) -> list[dict[str, Any]]:
    """What was done about an alarm, and what came of it: steps with their values, put into words by the page."""
    if alarm.action in ("", "nothing"):
        return [{"what": alarm.action or "waiting"}]
    steps: list[dict[str, Any]] = [{"what": "asked", "n": alarm.asked} if alarm.asked else {"what": "asked_none"}]
    query = select(func.count(func.distinct(LabelEventRow.sample_id))).where(
        LabelEventRow.inspection == alarm.inspection,
        LabelEventRow.kind == LabelKind.LABEL.value,
        LabelEventRow.at >= alarm.at,
    )
    with catalog.reading() as session:
        steps.append({"what": "labelled", "n": session.scalar(query) or 0})
    decisions = [each for each in list_decisions(catalog, alarm.inspection, limit=MOST_ALARMS) if each.at > alarm.at]
    steps += [{"what": f"judged_{decision.answer}", "version": decision.version} for decision in reversed(decisions)]
    if alarm.action == "retrain" and alarm.closed_at is None and not decisions:
        steps.append({"what": "retrain_after", "n": policy.retrain_after})
    return steps


def _since(is_open: DriftAlarm | None, points: Sequence[Point], alarms: Sequence[DriftAlarm]) -> str | None:
    """Since when a watch is as it is: since the drift began, or since it is watched, or the last alarm was closed."""
    if is_open:
        return (is_open.began_at or is_open.window_at).isoformat()
    ends = [alarm.closed_at for alarm in alarms if alarm.closed_at is not None]
    at = max([*(point.at for point in points[:1]), *ends], default=None)
    return None if at is None else at.isoformat()
