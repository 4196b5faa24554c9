"""Truths joined by part id with the context that was recorded of the same parts before: one table per station.

1. A part is one unit: its captured frames at the station where it was last seen, however many. Its weight is the sum
   of theirs, what holds of it their weighted mean.
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

from data.causes.truths import Unit, truth_of
from data.causes.values import Context, Population, Sighting, Truth

MOST_UNITS = 20_000  # what a page may wait for: some seconds
MOST_KEYS = 256  # of one station: as many as one sample may carry
MOST_FRAMES = 64  # of one visit that are looked at
LONGEST_NAME = 128  # of a station or an outcome as told
_MOST_COUNTED = 16 * MOST_KEYS  # keys counted at a time; a device that invents keys must not fill the memory
_PLACE_KEYS = frozenset({"station"})  # names the place, and is part of the stratum already

Value = float | str | None
Values = Sequence[Value] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Units of which the context of one station is known, one row each.

    Attributes:
        station: Whose context it is.
        unit: int [n], the number of the unit in its population.
        weight: float [n], parts that the row stands for.
        truth: float [n, targets], see :mod:`data.causes.truths`; its mean over parts is the share that has the target.
        labelled: float [n], parts that the row's labels alone stand for; 0 if it has none.
        positive: bool [n, targets], whether a label says that the target holds.
        at: float [n], seconds since 1970 of the truth; of an outcome, of the recording.
        recorded: float [n], seconds since 1970 of the recording.
        lag: float [n], seconds from the recording to the truth.
        place: int [n], code of (station, device) of the truth and the device that recorded the context.
        engine: int [n], code of the engine.
        values: Key -> the values, n of each; an array if all are numbers, nan where one is missing.
        keys_left_out: How many keys there were beyond the bound.
    """

    station: str
    unit: NDArray[np.int64]
    weight: NDArray[np.float64]
    truth: NDArray[np.float64]
    labelled: NDArray[np.float64]
    positive: NDArray[np.bool_]
    at: NDArray[np.float64]
    recorded: NDArray[np.float64]
    lag: NDArray[np.float64]
    place: NDArray[np.int64]
    engine: NDArray[np.int64]
    values: Mapping[str, Values]
    keys_left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A population's units, and a table per station in the order of the stations' names."""

    name: str
    targets: tuple[str, ...]
    units: tuple[Unit, ...]
    tables: tuple[Joined, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    unit: int
    weight: float
    at: float
    recorded: float
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


def join(population: Population, sightings: Iterable[Sighting]) -> Linked:
    """Join the units with the context of each station, by rules 2 to 4."""
    units = units_of(population)
    truth = truth_of(units, population.targets)
    wanted = {unit.part for unit in units}
    seen: dict[str, dict[str, list[Sighting]]] = defaultdict(lambda: defaultdict(list))
    for sighting in sorted(sightings, key=attrgetter("at")):
        if sighting.part in wanted:
            seen[sighting.part][sighting.station].append(sighting)
    rows: dict[str, list[_Row]] = defaultdict(list)
    for number, unit in enumerate(units):
        if unit.context:
            place = (unit.station, unit.device, unit.device)
            rows[unit.station].append(
                _Row(number, unit.weight, unit.at, unit.at, 0.0, place, unit.engine, unit.context)
            )
        visits = seen.get(unit.part or "", {})
        for station, recorded in visits.items():
            if station != unit.station:
                row = _row_of(number, unit, recorded)
                if row is not None:
                    rows[station].append(row)
    return Linked(
        name=population.name,
        targets=population.targets,
        units=tuple(units),
        tables=tuple(_table(station, rows[station], units, truth, population.targets) for station in sorted(rows)),
    )


def _unit(truths: list[Truth]) -> Unit:
    last = max(truths, key=attrgetter("at"))
    frames = sorted((t for t in truths if t.station == last.station), key=attrgetter("at"), reverse=True)
    weight = sum(frame.weight for frame in frames)
    told: dict[str, float] = defaultdict(float)
    unsure: dict[str, float] = defaultdict(float)
    for frame in frames:
        for target in frame.holds if frame.known else ():
            told[target] += frame.weight / weight * frame.known
        for target, guess in frame.guess.items():
            unsure[target] += frame.weight / weight * guess * (1 - frame.known)
    return Unit(
        part=last.part,
        at=last.at.timestamp(),
        station=last.station,
        device=last.device,
        engine=last.engine,
        weight=weight,
        labelled=sum(frame.weight * frame.known for frame in frames),
        positive=frozenset(target for frame in frames if frame.known for target in frame.holds),
        told=told,
        open=unsure,
        context=_newest([frame.context for frame in frames[:MOST_FRAMES]]),
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
        recorded=at,
        lag=unit.at - at,
        place=(unit.station, unit.device, last.device),
        engine=unit.engine,
        context=_newest([sighting.context for sighting in visit]),
    )


def _newest(contexts: Sequence[Context]) -> Context:
    """The newest value of each key; contexts come newest first."""
    if len(contexts) == 1:
        return contexts[0]
    merged: dict[str, float | str] = {}
    for context in contexts:
        for key, value in context.items():
            merged.setdefault(key, value)
    return merged


def _table(
    station: str, rows: list[_Row], units: list[Unit], truth: NDArray[np.float64], targets: tuple[str, ...]
) -> Joined:
    keys, left_out = _frequent_keys(rows)
    numbers = np.array([row.unit for row in rows], dtype=np.int64)
    weight = np.array([row.weight for row in rows], dtype=np.float64)
    share = np.array([units[i].labelled / units[i].weight for i in numbers.tolist()], dtype=np.float64)
    return Joined(
        station=station,
        unit=numbers,
        weight=weight,
        truth=truth[numbers],
        labelled=weight * share,
        positive=np.array([[target in units[i].positive for target in targets] for i in numbers.tolist()]),
        at=np.array([row.at for row in rows], dtype=np.float64),
        recorded=np.array([row.recorded for row in rows], dtype=np.float64),
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
