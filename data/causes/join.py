"""Truths joined by part id with the context that was recorded of the same parts before: one table per station.

1. A part is one unit: its labelled frames at the station where it was last labelled, however many. Its weight is the
   sum of theirs, what holds of it their weighted share.
2. The context of the unit's own station is that of its own frames. Of another station it is what was recorded on the
   part's last visit there, not later than the unit: the time between is the lag.
3. A recording at another station is known only if that frame was captured, so the unit's weight is multiplied by the
   inverse of that chance too: with Σ 1/(p₁·m) over the captured frames of the visit. Without it, whatever made the
   other station keep a frame would look like a property of the parts.
4. Bounded: so many units (the newest), so many keys a station (the most frequent), so many frames a visit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from data.causes.values import Context, Population, Sighting, Truth

MOST_UNITS = 20_000  # what a page may wait for: some seconds
MOST_KEYS = 256  # of one station: as many as one sample may carry
MOST_FRAMES = 64  # of one visit that are looked at
LONGEST_NAME = 128  # of a station or an outcome as told
_MOST_COUNTED = 16 * MOST_KEYS  # keys counted at a time; a device that invents keys must not fill the memory
_PLACE_KEYS = frozenset({"station"})  # names the place, and is part of the stratum already

Value = float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Units of which the context of one station is known, one row each.

    Attributes:
        station: Whose context it is.
        unit: int [n], the number of the unit in its population.
        weight: float [n], parts that the row stands for.
        truth: float [n, targets], share of the unit's frames of which the target holds.
        at: float [n], seconds since 1970 of the truth; of an outcome, of the recording.
        lag: float [n], seconds from the recording to the truth.
        place: int [n], code of (station, device) of the truth and the device that recorded the context.
        engine: int [n], code of the engine.
        values: Key -> the values, n of each.
        keys_left_out: How many keys there were beyond the bound.
    """

    station: str
    unit: NDArray[np.int64]
    weight: NDArray[np.float64]
    truth: NDArray[np.float64]
    at: NDArray[np.float64]
    lag: NDArray[np.float64]
    place: NDArray[np.int64]
    engine: NDArray[np.int64]
    values: Mapping[str, Sequence[Value]]
    keys_left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A part with what is known of it (rule 1).

    Attributes:
        share: Target -> weighted share of its frames.
    """

    part: str | None
    at: float
    station: str
    device: str
    engine: str
    weight: float
    share: Mapping[str, float]
    context: Context


@dataclass(frozen=True, slots=True)
class _Row:
    unit: int
    weight: float
    at: float
    lag: float
    place: tuple[str, str, str]
    engine: str
    context: Context


def units_of(population: Population) -> list[Unit]:
    """The units of a population, the newest ones if there are too many, oldest first."""
    by_part: dict[str, list[Truth]] = defaultdict(list)
    alone: list[list[Truth]] = []
    for truth in population.truths:
        if truth.part is None:
            alone.append([truth])
        else:
            by_part[truth.part].append(truth)
    units = [_unit(truths) for truths in (*by_part.values(), *alone)]
    return sorted(units, key=attrgetter("at"))[-MOST_UNITS:]


def join(population: Population, sightings: Iterable[Sighting]) -> tuple[list[Unit], list[Joined]]:
    """Join the units with the context of each station, by rules 2 to 4.

    Returns:
        The units, and a table per station in the order of the stations' names.
    """
    units = units_of(population)
    wanted = {unit.part for unit in units}
    seen: dict[str, dict[str, list[Sighting]]] = defaultdict(lambda: defaultdict(list))
    for sighting in sorted(sightings, key=attrgetter("at")):
        if sighting.part in wanted:
            seen[sighting.part][sighting.station].append(sighting)
    rows: dict[str, list[_Row]] = defaultdict(list)
    for number, unit in enumerate(units):
        if unit.context:
            place = (unit.station, unit.device, unit.device)
            rows[unit.station].append(_Row(number, unit.weight, unit.at, 0.0, place, unit.engine, unit.context))
        visits = seen.get(unit.part or "", {})
        for station, recorded in visits.items():
            if station != unit.station:
                row = _row_of(number, unit, recorded)
                if row is not None:
                    rows[station].append(row)
    return units, [_table(station, rows[station], units, population.targets) for station in sorted(rows)]


def _unit(truths: list[Truth]) -> Unit:
    last = max(truths, key=attrgetter("at"))
    frames = sorted((t for t in truths if t.station == last.station), key=attrgetter("at"), reverse=True)
    weight = sum(frame.weight for frame in frames)
    share: dict[str, float] = defaultdict(float)
    for frame in frames:
        for target in frame.holds:
            share[target] += frame.weight / weight
    return Unit(
        part=last.part,
        at=last.at.timestamp(),
        station=last.station,
        device=last.device,
        engine=last.engine,
        weight=weight,
        share={target: min(1.0, value) for target, value in share.items()},
        context=_newest(frame.context for frame in frames[:MOST_FRAMES]),
    )


def _row_of(number: int, unit: Unit, recorded: list[Sighting]) -> _Row | None:
    before = [sighting for sighting in recorded if sighting.at.timestamp() <= unit.at]
    if not before:
        return None
    last = before[-1]
    visit = [sighting for sighting in reversed(before) if sighting.visit == last.visit][:MOST_FRAMES]
    at = last.at.timestamp()
    return _Row(
        unit=number,
        weight=unit.weight * sum(sighting.weight for sighting in visit),
        at=unit.at if unit.station else at,
        lag=unit.at - at,
        place=(unit.station, unit.device, last.device),
        engine=unit.engine,
        context=_newest(sighting.context for sighting in visit),
    )


def _newest(contexts: Iterable[Context]) -> Context:
    """The newest value of each key; contexts come newest first."""
    merged: dict[str, float | str] = {}
    for context in contexts:
        for key, value in context.items():
            merged.setdefault(key, value)
    return merged


def _table(station: str, rows: list[_Row], units: list[Unit], targets: tuple[str, ...]) -> Joined:
    keys, left_out = _frequent_keys(rows)
    return Joined(
        station=station,
        unit=np.array([row.unit for row in rows], dtype=np.int64),
        weight=np.array([row.weight for row in rows], dtype=np.float64),
        truth=np.array(
            [[units[row.unit].share.get(target, 0.0) for target in targets] for row in rows], dtype=np.float64
        ),
        at=np.array([row.at for row in rows], dtype=np.float64),
        lag=np.array([row.lag for row in rows], dtype=np.float64),
        place=_codes([row.place for row in rows]),
        engine=_codes([row.engine for row in rows]),
        values={key: [row.context.get(key) for row in rows] for key in keys},
        keys_left_out=left_out,
    )


def _frequent_keys(rows: list[_Row]) -> tuple[list[str], int]:
    """The most frequent keys by name, and how many others there were (at least; inventions are not remembered)."""
    counts: Counter[str] = Counter()
    forgotten = 0
    for row in rows:
        counts.update(key for key in row.context if key not in _PLACE_KEYS)
        if len(counts) > _MOST_COUNTED:
            kept = dict(counts.most_common(_MOST_COUNTED // 2))
            forgotten += len(counts) - len(kept)
            counts = Counter(kept)
    keys = [key for key, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_KEYS]]
    return sorted(keys), forgotten + len(counts) - len(keys)


def _codes(names: Sequence[tuple[str, ...] | str]) -> NDArray[np.int64]:
    known: dict[tuple[str, ...] | str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)
