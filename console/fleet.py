"""The page of the fleet: sites, stations, devices; who is silent, what runs where, what became of the newest release.

1. Counts come from cells that ingest keeps, rows from the database a page at a time: a view costs the same for ten
   devices and for ten thousand.
2. What comes from devices goes out as JSON; the page puts it in as text.
3. ``/metrics`` says the counts to Prometheus, so that silence can ring where a plant's other alarms ring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse

from console.metrics_guard import check_may_read
from console.people import needs
from data.devices import device_status, get_device
from data.fleet import FleetFilter, FleetSummary, fleet_page, fleet_summary, list_silences
from data.fleet.silence import open_silences
from data.fleet.table import station_states
from data.users import Role
from data.workspace import Workspace

_MOST_ROWS = 200
_ALARMS = 20
Text = Annotated[str, Query(max_length=128)]
Sort = Literal[
    "device", "site", "station", "state", "engine", "client", "outcome", "heard", "spool", "frames", "latency"
]


def make_fleet_api(workspace: Workspace, *, clock: Callable[[], datetime]) -> APIRouter:
    """Make the router."""
    api = APIRouter()
    catalog = workspace.catalog()

    @api.get("/api/fleet", dependencies=[needs(Role.VIEWER)])
    def fleet(
        site: Text = "",
        station: Text = "",
        state: Text = "",
        engine: Text = "",
        client: Text = "",
        outcome: Text = "",
        inspection: Text = "",
        search: Text = "",
        sort: Sort = "state",
        descending: bool = False,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 50,
    ) -> dict[str, Any]:
        wanted = FleetFilter(
            site=site,
            station=station,
            state=state,
            engine=engine,
            client=client,
            outcome=outcome,
            inspection=inspection,
            search=search,
        )
        page = fleet_page(catalog, wanted, sort=sort, descending=descending, offset=offset, limit=limit)
        return {
            "now": clock().isoformat(),
            "summary": fleet_summary(catalog).to_dict(),
            "stations": station_states(catalog, site) if site else {},
            "total": page.total,
            "offset": page.offset,
            "devices": [row.to_dict() for row in page.rows],
            "silences": [alarm.to_dict() for alarm in list_silences(catalog, limit=_ALARMS)],
            "open_silences": open_silences(catalog),
        }

    @api.get("/api/fleet/device/{name}", dependencies=[needs(Role.VIEWER)])
    def device(name: str) -> dict[str, Any]:
        known = get_device(catalog, name)
        status = device_status(catalog, name)
        return {
            "device": known.name,
            "registered_at": known.registered_at.isoformat(),
            "revoked_at": None if known.revoked_at is None else known.revoked_at.isoformat(),
            "revoked_reason": known.revoked_reason,
            "inspections": [{"name": inspection, "channel": channel} for inspection, channel in known.inspections],
            "heartbeat": None if status is None else status.heartbeat.to_payload(),
            "received_at": None if status is None else status.received_at.isoformat(),
        }

    @api.get("/metrics", response_class=PlainTextResponse)
    def metrics(request: Request) -> PlainTextResponse:
        check_may_read(request, workspace.home)
        text = "\n".join(metrics_of(fleet_summary(catalog), open_silences(catalog))) + "\n"
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    return api


def metrics_of(summary: FleetSummary, silences: int) -> Iterator[str]:
    """The fleet's counts as Prometheus text. Names of sites, engines and versions need no escaping (`check_name`)."""
    yield "# HELP andon_fleet_devices Devices by site and state."
    yield "# TYPE andon_fleet_devices gauge"
    for site, states in summary.sites.items():
        for state, devices in states.items():
            yield f'andon_fleet_devices{{site="{site}",state="{state}"}} {devices}'
    yield "# HELP andon_fleet_releases Devices in service by what became of the newest release there."
    yield "# TYPE andon_fleet_releases gauge"
    for outcome, devices in summary.outcomes.items():
        yield f'andon_fleet_releases{{outcome="{outcome}"}} {devices}'
    yield "# HELP andon_fleet_silences_open Alarms of silence that are open."
    yield "# TYPE andon_fleet_silences_open gauge"
    yield f"andon_fleet_silences_open {silences}"
