"""The fleet's table: filtered, sorted and cut into pages by the database, so that no view holds all devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, case, func, or_, select

from data.catalog import Catalog
from data.catalog.models import FleetDeviceRow
from data.fleet.facts import STATES, Facts
from edge_client.contract.errors import ConfigError

MOST_ROWS = 1000  # of one page

_STATE_ORDER = case({state: i for i, state in enumerate(STATES)}, value=FleetDeviceRow.state, else_=len(STATES))
_SORTS: Mapping[str, Any] = {
    "device": FleetDeviceRow.device,
    "site": FleetDeviceRow.site,
    "station": FleetDeviceRow.station,
    "state": _STATE_ORDER,
    "engine": FleetDeviceRow.engine_id,
    "client": FleetDeviceRow.client_version,
    "outcome": FleetDeviceRow.outcome,
    "heard": FleetDeviceRow.heard_at,
    "spool": FleetDeviceRow.spool_share,
    "frames": FleetDeviceRow.frames,
    "latency": FleetDeviceRow.latency_ms_p99,
}
#: What a table may be sorted by.
SORTS = tuple(_SORTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFilter:
    """Which devices; "" is any. `search` is a piece of a name of device, site, station or engine."""

    site: str = ""
    station: str = ""
    state: str = ""
    engine: str = ""
    client: str = ""
    outcome: str = ""
    inspection: str = ""
    search: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetDevice(Facts):
    """One device as the table shows it."""

    device: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        value = {"device": self.device, **asdict(self)}
        for name in ("heard_at", "silent_at"):
            value[name] = None if value[name] is None else value[name].isoformat()
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPage:
    """Some rows, and how many there are."""

    total: int
    offset: int
    rows: tuple[FleetDevice, ...]


def fleet_page(
    catalog: Catalog,
    wanted: FleetFilter | None = None,
    *,
    sort: str = "state",
    descending: bool = False,
    offset: int = 0,
    limit: int = 50,
) -> FleetPage:
    """Return one page of the table.

    Args:
        catalog: The catalog.
        wanted: Which devices; default all.
        sort: One of `SORTS`; equal ones are in the order of their names.
        descending: The other way round.
        offset: How many to leave out.
        limit: How many to show, at most `MOST_ROWS`.

    Raises:
        ConfigError: Not one of `SORTS`.
    """
    if sort not in _SORTS:
        raise ConfigError(f"the fleet's table cannot be sorted by {sort[:40]!r}: expected one of {', '.join(SORTS)}")
    filtered = _filtered(select(FleetDeviceRow), wanted or FleetFilter())
    column = _SORTS[sort]
    order = column.desc().nulls_last() if descending else column.asc().nulls_first()
    with catalog.reading() as session:
        total = session.scalar(_filtered(select(func.count()).select_from(FleetDeviceRow), wanted or FleetFilter()))
        rows = session.scalars(
            filtered.order_by(order, FleetDeviceRow.device).offset(max(0, offset)).limit(min(limit, MOST_ROWS))
        )
        found = tuple(_device(row) for row in rows)
    return FleetPage(total=total or 0, offset=max(0, offset), rows=found)


def station_states(catalog: Catalog, site: str) -> dict[str, dict[str, int]]:
    """Of one site: station → state → devices."""
    query = (
        select(FleetDeviceRow.station, FleetDeviceRow.state, func.count())
        .where(FleetDeviceRow.site == site)
        .group_by(FleetDeviceRow.station, FleetDeviceRow.state)
        .order_by(FleetDeviceRow.station, _STATE_ORDER)
    )
    found: dict[str, dict[str, int]] = {}
    with catalog.reading() as session:
        for station, state, devices in session.execute(query):
            found.setdefault(station, {})[state] = devices
    return found


def _filtered(query: Select[Any], wanted: FleetFilter) -> Select[Any]:
    row = FleetDeviceRow
    exact = {
        row.site: wanted.site,
        row.station: wanted.station,
        row.state: wanted.state,
        row.engine_id: wanted.engine,
        row.client_version: wanted.client,
        row.outcome: wanted.outcome,
        row.inspection: wanted.inspection,
    }
    for column, value in exact.items():
        if value:
            query = query.where(column == value)
    if wanted.search:
        text = wanted.search.strip().lower()
        columns = (row.device, row.site, row.station, row.engine_id)
        query = query.where(or_(*(func.lower(column).contains(text, autoescape=True) for column in columns)))
    return query


def _device(row: FleetDeviceRow) -> FleetDevice:
    return FleetDevice(**{name: getattr(row, name) for name in FleetDevice.__dataclass_fields__})
