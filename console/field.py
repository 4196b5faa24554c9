"""The page of the field: defect rates over time and by place, recall, precision, what changed, and what goes with it.

1. An estimate takes up to seconds on a large catalog: it is kept for a minute, and made by one request while others
   wait.
2. Drift and causes are told in a line each and linked; their own pages say more.
3. What comes from the line goes out as JSON; the page puts it in as text.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from console.pages import MakePage
from console.people import needs
from data.devices import list_devices
from data.drift.alarms import list_alarms
from data.drift.watches import watched_devices
from data.field_view import field_view
from data.inspections import InspectionError, get_inspection
from data.users import Role
from data.workspace import Workspace

FRESH_SECONDS = 60.0
MOST_KEPT = 200
MOST_ALARMS = 10
Days = Literal["0", "7", "30", "90", "365"]
Name = Annotated[str, Query(max_length=128)]


class Kept:
    """Answers that are good for a minute; each is made once, however many ask.

    Args:
        fresh: Seconds.
        monotonic: Seconds of a clock that never jumps.
    """

    def __init__(self, *, fresh: float = FRESH_SECONDS, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._fresh, self._monotonic = fresh, monotonic
        self._lock = threading.Lock()
        self._entries: OrderedDict[Any, tuple[threading.Lock, list[Any]]] = OrderedDict()

    def get(self, key: Any, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the answer of a key, made anew if it is old."""
        with self._lock:
            lock, kept = self._entries.setdefault(key, (threading.Lock(), []))
            self._entries.move_to_end(key)
            while len(self._entries) > MOST_KEPT:
                self._entries.popitem(last=False)
        with lock:
            if not kept or self._monotonic() - kept[0] >= self._fresh:
                made = make()
                kept[:] = [self._monotonic(), made]
            found: dict[str, Any] = kept[1]
            return found

    def forget(self) -> None:
        """Make everything anew."""
        with self._lock:
            self._entries.clear()


def make_field_api(workspace: Workspace, page: MakePage, *, clock: Callable[[], datetime]) -> APIRouter:
    """Make the router."""
    api = APIRouter()
    catalog, kept = workspace.catalog(), Kept()
    viewer = [needs(Role.VIEWER)]

    @api.get("/field", response_class=HTMLResponse, dependencies=viewer)
    def field(request: Request) -> HTMLResponse:
        return page(request, "field.html", here="field")

    @api.get("/api/{inspection}/field", dependencies=viewer)
    def shown(inspection: str, days: Days = "90", defect: Name = "", station: Name = "") -> dict[str, Any]:
        info = get_inspection(catalog, inspection)
        if defect and defect not in info.defect_names:
            raise InspectionError(f"inspection {inspection!r} has no class of defects {defect!r}")
        stations = sorted({device.station for device in list_devices(catalog, info.name)})
        if station and station not in stations:
            raise InspectionError(f"inspection {inspection!r} has no station {station!r}; it has {stations}")

        def make() -> dict[str, Any]:
            now = clock()
            view = field_view(
                catalog,
                info.name,
                since=now - timedelta(days=int(days)) if days != "0" else None,
                now=now,
                of_class=defect,
                station=station,
                outcomes=workspace.policy().outcomes,
            )
            return {
                **view.to_dict(),
                "station": station,
                "stations": stations,
                "classes": [name for name in info.class_names if name in info.defect_names],
                "drift": _drift(workspace, info.name),
            }

        return kept.get((info.name, days, defect, station), make)

    return api


def _drift(workspace: Workspace, inspection: str) -> dict[str, Any]:
    """What watches say, in short."""
    catalog = workspace.catalog()
    watched = watched_devices(catalog, inspection)
    alarms = [alarm for alarm in list_alarms(catalog, inspection, limit=MOST_ALARMS) if alarm.closed_at is None]
    return {
        "watched": sum(1 for device in watched if device.ready),
        "learning": sum(1 for device in watched if not device.ready),
        "alarms": [alarm.to_dict() for alarm in alarms],
    }
