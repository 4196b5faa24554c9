"""The field's figures as people look at them: over time, by place, and which place stands out.

1. Days are UTC days of windows' opening. Over a long time several days are one point, so that at most `MOST_POINTS`
   are shown: whole weeks, or four of them, from a Monday on.
2. A place *stands out* if its defect rate exceeds that of all the others together by more than chance: the difference
   of two independent rates by MOVER (Zou & Donner 2008), one-sided at 5 % over as many places as were looked at
   (Bonferroni). The one with the highest rate that rests on labels is named either way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from math import hypot, isnan
from typing import Any

from sqlalchemy import func, select

from data.catalog import Catalog
from data.catalog.models import WindowRow
from data.estimates import BY_PLACE, field_samples_by
from data.field_measures import Measures, Truth, measures_of, rate_of
from data.field_sample import FieldSample
from data.inspections import get_inspection
from data.intervals import Estimate
from data.known_frames import Cell
from data.policy import OutcomePolicy
from data.seen_rows import SeenWindow

MOST_POINTS = 62
_MONDAY = date(1970, 1, 5).toordinal()
_ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Outstanding:
    """The place with the highest rate, against all the others.

    Attributes:
        name: Which.
        rate: Its defect rate.
        others: That of the others together.
        difference: Between them; `low` is the bound that decides.
        sure: Whether it is more than chance.
        places: How many were looked at.
    """

    name: str
    rate: Estimate
    others: Estimate
    difference: Estimate
    sure: bool
    places: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        estimates = {key: getattr(self, key).to_dict() for key in ("rate", "others", "difference")}
        return {"name": self.name, **estimates, "sure": self.sure, "places": self.places}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldView:
    """What the page shows.

    Attributes:
        of_class: The class of defects that is spoken of; "" for all.
        span_days: Days in a point.
        points: (first day, figures), the oldest first.
        rows: Over all frames, by class, station and device.
        worst: None while fewer than two stations have labels.
    """

    inspection: str
    of_class: str
    span_days: int
    points: tuple[tuple[str, Measures], ...]
    rows: tuple[Measures, ...]
    worst: Outstanding | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "inspection": self.inspection,
            "of_class": self.of_class,
            "span_days": self.span_days,
            "points": [{"day": day, **measures.to_dict()} for day, measures in self.points],
            "measures": [row.to_dict() for row in self.rows],
            "worst": None if self.worst is None else self.worst.to_dict(),
        }


def field_view(
    catalog: Catalog,
    inspection: str,
    *,
    since: datetime | None,
    now: datetime,
    of_class: str = "",
    station: str = "",
    outcomes: OutcomePolicy | None = None,
) -> FieldView:
    """Estimate what the page shows.

    Args:
        catalog: The catalog.
        inspection: Its name.
        since: Only windows opened at or after; None: all.
        now: Aware time.
        of_class: Speak of this class of defects; "" for all.
        station: Over time only of this station; "" for all.
        outcomes: Which outcomes count as truth.

    Raises:
        InspectionError: unknown inspection.
    """
    info = get_inspection(catalog, inspection)
    wanted = of_class or None
    begun = first_window(catalog, inspection) or now
    first = max(since or begun, begun)
    span = span_of((now - first).days + 1)
    samples = field_samples_by(
        catalog,
        inspection,
        since=since,
        outcomes=outcomes,
        by={**BY_PLACE, "day": lambda row: _key(row, station, span)},
    )
    rows = [measures_of(samples["all", ""], of_class=wanted)]
    if not of_class and len(info.defect_names) > 1:
        rows += [
            measures_of(samples["all", ""], of_class=name) for name in info.class_names if name in info.defect_names
        ]
    places = {key: sample for key, sample in samples.items() if key[0] in BY_PLACE}
    rows += [_of(sample, kind, name, wanted) for (kind, name), sample in places.items()]
    return FieldView(
        inspection=inspection,
        of_class=of_class,
        span_days=span,
        points=tuple(
            (name, _of(sample, "day", name, wanted))
            for (kind, name), sample in samples.items()
            if kind == "day" and name
        ),
        rows=tuple(rows),
        worst=_worst(places, wanted),
    )


def first_window(catalog: Catalog, inspection: str) -> datetime | None:
    """When the first window of an inspection opened."""
    with catalog.reading() as session:
        return session.scalar(select(func.min(WindowRow.opened_at)).where(WindowRow.inspection == inspection))


def span_of(days: int) -> int:
    """How many days make a point (rule 1).

    >>> [span_of(days) for days in (30, 62, 90, 400, 4000)]
    [1, 1, 7, 7, 84]
    """
    if days <= MOST_POINTS:
        return 1
    weeks = -(-days // (7 * MOST_POINTS))
    return 7 if weeks == 1 else 28 * -(-weeks // 4)


def point_of(day: date, span: int) -> str:
    """The first day of the point that a day belongs to.

    >>> point_of(date(2031, 5, 8), 7), point_of(date(2031, 5, 8), 1)
    ('2031-05-05', '2031-05-08')
    """
    return date.fromordinal(day.toordinal() - (day.toordinal() - _MONDAY) % span).isoformat()


def pooled(samples: Sequence[FieldSample]) -> FieldSample:
    """Samples of populations that have no frame in common, as one of them all."""
    population = sum(sample.population for sample in samples)
    silent = sum(sample.population * sample.nonresponse for sample in samples)
    known: Counter[Cell] = Counter()
    for sample in samples:
        known.update(sample.known)
    return replace(
        samples[0],
        samples=tuple(item for sample in samples for item in sample.samples),
        population=population,
        excluded=sum(sample.excluded for sample in samples),
        waiting=sum(sample.waiting for sample in samples),
        nonresponse=silent / population if population else 0.0,
        windows=sum(sample.windows for sample in samples),
        known=dict(known),
        known_frames=sum(sample.known_frames for sample in samples),
    )


def difference_of(one: Estimate, other: Estimate) -> Estimate:
    """One rate less another, of independent samples (MOVER)."""
    value = one.value - other.value
    return Estimate(
        value=value,
        low=value - hypot(one.value - one.low, other.high - other.value),
        high=value + hypot(one.high - one.value, other.value - other.low),
        n=one.n + other.n,
        population=one.population + other.population,
        level=one.level,
    )


def _key(row: SeenWindow, station: str, span: int) -> str:
    return "" if station and row.station != station else point_of(row.opened_at.date(), span)


def _of(sample: FieldSample, kind: str, name: str, of_class: str | None) -> Measures:
    measures = measures_of(sample, of_class=of_class)
    return replace(measures, by=kind, name=name)


def _worst(places: dict[tuple[str, str], FieldSample], of_class: str | None) -> Outstanding | None:
    """Rule 2, over stations."""
    rates = {
        name: rate_of(Truth.of(sample, of_class))
        for (kind, name), sample in places.items()
        if kind == "station" and sample.samples
    }
    rates = {name: rate for name, rate in rates.items() if not isnan(rate.value)}
    if len(rates) < 2:
        return None
    name = max(rates, key=lambda each: (rates[each].value, each))
    level = 1 - 2 * _ALPHA / len(rates)
    others = pooled([sample for (kind, each), sample in places.items() if kind == "station" and each != name])
    difference = difference_of(
        rate_of(Truth.of(places["station", name], of_class), level), rate_of(Truth.of(others, of_class), level)
    )
    return Outstanding(
        name=name,
        rate=rates[name],
        others=rate_of(Truth.of(others, of_class)),
        difference=difference,
        sure=difference.low > 0,
        places=len(rates),
    )
