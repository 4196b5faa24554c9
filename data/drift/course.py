"""The course of drift: how far each window that was looked at brought its device towards an alarm.

1. A level is the statistic over its limit, so an alarm is at 1: for pictures the evidence of :mod:`data.drift.watch`,
   which spans decades and is best seen on a scale of ratios; for rates the CUSUM of :mod:`data.drift.rates`.
2. Points are written in the transaction that takes over the look: one a window, whatever happens in between. While an
   alarm is open its kind is not watched, and there are none.
3. Thinned, a course keeps its highest points: a short rise does not vanish.
4. Courses are read anew only when there are other points: what there is, is counted and added up, which costs a
   hundredth of reading it (`KeptCourses`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from operator import attrgetter
from typing import Any, TypeVar

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DriftPointRow, WindowRow
from data.drift.watches import Device
from data.kept import KeptWhileSame

MOST_POINTS = 240
_Leveled = TypeVar("_Leveled")  # a point, or a row of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One window.

    Attributes:
        at: When it closed, on the device's clock.
        level: The statistic over its limit.
        leading: The measure or rate that most of it comes from.
    """

    at: datetime
    level: float
    leading: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"at": self.at.isoformat(), "level": self.level, "leading": self.leading}


def point(device: Device, kind: str, window: WindowRow, level: float, leading: str) -> DriftPointRow:
    """Make the row of a window."""
    return DriftPointRow(
        inspection=device.inspection,
        device=device.name,
        kind=kind,
        epoch=window.epoch,
        window=window.window,
        at=window.closed_at,
        level=level,
        leading=leading,
    )


def record(session: Session, points: Iterable[DriftPointRow]) -> None:
    """Keep points (rule 2)."""
    for each in points:
        session.merge(each)  # a window that is looked at again, after another beginning, has one point


Courses = Mapping[tuple[str, str], Sequence[Point]]  # by device and kind


def courses(catalog: Catalog, inspection: str, *, since: datetime, most: int = MOST_POINTS) -> Courses:
    """The courses of an inspection's devices from an instant on, by (device, kind), thinned (rule 3)."""
    query = (
        select(DriftPointRow.device, DriftPointRow.kind, DriftPointRow.at, DriftPointRow.level, DriftPointRow.leading)
        .where(DriftPointRow.inspection == inspection, DriftPointRow.at >= since)
        .order_by(DriftPointRow.epoch, DriftPointRow.window)
    )
    found: dict[tuple[str, str], list[Row[Any]]] = {}
    with catalog.reading() as session:
        for row in session.execute(query):
            found.setdefault((row[0], row[1]), []).append(row)
    return {
        key: [Point(at=row[2], level=row[3], leading=row[4]) for row in thinned(rows, most)]
        for key, rows in found.items()
    }


class KeptCourses:
    """The courses of the inspections that were looked at last (rule 4). Safe to share between threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: KeptWhileSame[Courses] = KeptWhileSame()

    def of(self, inspection: str, *, since: datetime, most: int = MOST_POINTS) -> Courses:
        """As :func:`courses`, from the full hour before `since` on."""
        since = since.replace(minute=0, second=0, microsecond=0)
        with self._catalog.reading() as session:
            there = session.execute(
                select(func.count(), func.max(DriftPointRow.at), func.sum(DriftPointRow.level)).where(
                    DriftPointRow.inspection == inspection, DriftPointRow.at >= since
                )
            ).one()
        return self._kept.get(
            inspection, (since, most, *there), lambda: courses(self._catalog, inspection, since=since, most=most)
        )


def thinned(points: Sequence[_Leveled], most: int) -> list[_Leveled]:
    """At most so many points, the highest of each stretch (rule 3), and the last one."""
    if len(points) <= most:
        return list(points)
    bounds = [len(points) * i // (most - 1) for i in range(most)]
    stretches = (points[low:high] for low, high in pairwise(bounds))
    return [*(max(stretch, key=attrgetter("level")) for stretch in stretches), points[-1]]
