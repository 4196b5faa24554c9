"""The fleet in numbers: sums over cells of devices that are alike, so that a view costs the same for any fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.models import FleetCellRow
from data.fleet.facts import DEGRADED, SILENT, STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSummary:
    """How many devices there are, and how many of each kind.

    Attributes:
        devices: All, revoked ones too.
        states: State → devices, every state in order.
        outcomes: What became of the newest release → devices in service.
        engines: Engine → devices in service; "" for those that never said.
        clients: Version of the client → devices in service.
        sites: Site → state → devices.
    """

    devices: int
    states: Mapping[str, int]
    outcomes: Mapping[str, int]
    engines: Mapping[str, int]
    clients: Mapping[str, int]
    sites: Mapping[str, Mapping[str, int]]

    @property
    def in_service(self) -> int:
        """Devices that were not revoked."""
        return self.devices - self.states["revoked"]

    @property
    def wrong(self) -> Mapping[str, int]:
        """What wants a person: kind → devices, only where there are any."""
        found = {
            "silent": self.states[SILENT],
            "degraded": self.states[DEGRADED],
            "quarantined": self.outcomes.get("quarantined", 0),
        }
        return {what: devices for what, devices in found.items() if devices}

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "devices": self.devices,
            "in_service": self.in_service,
            "states": dict(self.states),
            "outcomes": dict(self.outcomes),
            "engines": dict(self.engines),
            "clients": dict(self.clients),
            "sites": {site: dict(states) for site, states in self.sites.items()},
            "wrong": dict(self.wrong),
        }


def fleet_summary(catalog: Catalog, *, site: str | None = None) -> FleetSummary:
    """Add up the cells, of one site or all."""
    query = select(FleetCellRow)
    if site is not None:
        query = query.where(FleetCellRow.site == site)
    with catalog.reading() as session:
        cells = list(session.scalars(query))
    states = Counter(dict.fromkeys(STATES, 0))
    outcomes: Counter[str] = Counter()
    engines: Counter[str] = Counter()
    clients: Counter[str] = Counter()
    sites: dict[str, Counter[str]] = {}
    for cell in cells:
        states[cell.state] += cell.devices
        sites.setdefault(cell.site, Counter(dict.fromkeys(STATES, 0)))[cell.state] += cell.devices
        if cell.state != "revoked":
            outcomes[cell.outcome] += cell.devices
            engines[cell.engine_id] += cell.devices
            clients[cell.client_version] += cell.devices
    return FleetSummary(
        devices=states.total(),
        states=dict(states),
        outcomes=dict(outcomes.most_common()),
        engines=dict(engines.most_common()),
        clients=dict(clients.most_common()),
        sites={name: dict(sites[name]) for name in sorted(sites)},
    )
