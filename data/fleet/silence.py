"""Alarms of devices that are not heard of.

1. A device is silent from `silent_at` on (`facts`), and only if the cloud looked since: an outage of the bucket or of
   the cloud itself raises nothing.
2. An alarm is raised once, in the transaction that shows the device as silent, and closed when it is heard again or
   revoked (`rows`).
3. A run logs one line for each site, since most silences are a site's link.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from data.catalog import Catalog
from data.catalog.models import FleetDeviceRow, SilenceAlarmRow
from data.fleet.facts import REVOKED, SILENT
from data.fleet.rows import Cell, cell_of, count

_log = logging.getLogger("andon.fleet")
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceAlarm:
    """One alarm; `heard_at` is None for a device that was never heard of."""

    id: int
    device: str
    site: str
    heard_at: datetime | None
    raised_at: datetime
    cleared_at: datetime | None

    def to_dict(self) -> dict[str, str | int | None]:
        """As plain JSON values."""
        return {
            "id": self.id,
            "device": self.device,
            "site": self.site,
            "heard_at": None if self.heard_at is None else self.heard_at.isoformat(),
            "raised_at": self.raised_at.isoformat(),
            "cleared_at": None if self.cleared_at is None else self.cleared_at.isoformat(),
        }


def raise_silences(
    catalog: Catalog, *, looked_at: datetime, at: datetime, unknown: Collection[str] = ()
) -> list[SilenceAlarm]:
    """Raise the alarms that are due.

    Args:
        catalog: The catalog.
        looked_at: Since when every heartbeat in the bucket is known; silence is judged as of then.
        at: Now.
        unknown: Devices whose heartbeat could not be read just now: nothing is said of them.
    """
    fleet = FleetDeviceRow
    due = (
        select(fleet)
        .where(fleet.silent_at < looked_at, fleet.state.not_in((SILENT, REVOKED)))
        .order_by(fleet.device)
        .with_for_update()
    )
    with catalog.session() as session:
        raised = []
        moved: Counter[Cell] = Counter()
        for row in session.scalars(due):
            if row.device in unknown:
                continue
            moved[cell_of(row)] -= 1
            row.state = SILENT
            moved[cell_of(row)] += 1
            alarm = SilenceAlarmRow(device=row.device, site=row.site, heard_at=row.heard_at, raised_at=at)
            session.add(alarm)
            raised.append(alarm)
        session.flush()
        count(session, moved)
        return [_alarm(alarm) for alarm in raised]


def list_silences(catalog: Catalog, *, open_only: bool = False, limit: int = 50) -> list[SilenceAlarm]:
    """Alarms, newest first."""
    query = select(SilenceAlarmRow).order_by(SilenceAlarmRow.id.desc()).limit(limit)
    if open_only:
        query = query.where(SilenceAlarmRow.cleared_at.is_(None))
    with catalog.reading() as session:
        return [_alarm(row) for row in session.scalars(query)]


def open_silences(catalog: Catalog) -> int:
    """How many alarms are open."""
    with catalog.reading() as session:
        query = select(func.count()).select_from(SilenceAlarmRow).where(SilenceAlarmRow.cleared_at.is_(None))
        return session.scalar(query) or 0


def log_silences(raised: Collection[SilenceAlarm], heard: Collection[str]) -> None:
    """Rule 3."""
    by_site: defaultdict[str, list[SilenceAlarm]] = defaultdict(list)
    for alarm in raised:
        by_site[alarm.site].append(alarm)
    for site, alarms in sorted(by_site.items()):
        named = ", ".join(alarm.device for alarm in alarms[:_NAMED])
        more = f" and {len(alarms) - _NAMED} more" if len(alarms) > _NAMED else ""
        _log.warning("site %s: silent: %s%s: look at `andon fleet --state silent`", site, named, more)
    if heard:
        named = ", ".join(sorted(heard)[:_NAMED])
        _log.warning("heard again: %s%s", named, f" and {len(heard) - _NAMED} more" if len(heard) > _NAMED else "")


def _alarm(row: SilenceAlarmRow) -> SilenceAlarm:
    return SilenceAlarm(
        id=row.id,
        device=row.device,
        site=row.site,
        heard_at=row.heard_at,
        raised_at=row.raised_at,
        cleared_at=row.cleared_at,
    )
