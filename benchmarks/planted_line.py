"""A line of three stations on which one variable goes with one defect, and two hundred go with none.

Two weeks, three shifts a day, one part after the other. Humidity at station 1 raises the risk of a crack, which is seen
at station 3 some forty minutes later; the two are joined by part id. Cracks also go with the shift, with the devices of
stations 1 and 3, and drift slowly. Every station keeps a share of its frames by
priority sampling, with weights that depend on what the picture is of *and* on what surrounds it (brightness, which is
among the noise, and fog, which goes with humidity). People label some of what station 3 kept, drawn the same way; the
engine there is blind to some cracks, and takes bright pictures for cracks. Or every part's outcome is told at the end
of the line, and only the context has to be sampled.

Truths, recordings and humidity pass the real join by part id. The noise is put into the joined tables afterwards, as
arrays: two hundred dictionary entries a frame would take longer than all else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from data.causes.join import Linked, Values, join
from data.causes.values import Population, Sighting, Truth
from data.priority_sampling import priority_sample

STATIONS = ("press", "oven", "final")
PLANTED = ("press", "humidity")
TARGETS = ("crack",)
NOISE = 200
LAG_SECONDS = 2_520.0  # between press and final, on average
_WEEKS_SECONDS = 14 * 86_400.0
_SHIFT_SECONDS = 8 * 3600.0
_START = datetime(2031, 3, 3, tzinfo=UTC)
_FIFTHS_APART = 2.8  # mean normal score of the highest fifth minus that of the lowest
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A line and what is known of it.

    Attributes:
        ratio: Of the risk of a crack in the highest fifth of humidity to that in the lowest; 1 plants nothing.
        parts: N.
        labelled: Frames of station 3 that people label.
        kept: Share of the frames that each station keeps.
        crack_rate: Share of cracked parts.
        outcomes: Whether every part's outcome is told; then nothing is labelled.
    """

    ratio: float
    parts: int = 6_000
    labelled: int = 1_000
    kept: float = 0.5
    crack_rate: float = 0.08
    outcomes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One draw of the line, joined.

    Attributes:
        noise: (station, key) of every variable that goes with nothing.
    """

    linked: Linked
    noise: frozenset[tuple[str, str]]


def draw(setting: Setting, seed: int) -> Planted:
    """Make a line, let its frames be kept and labelled."""
    random = np.random.default_rng(seed)
    n = setting.parts
    at = np.sort(random.uniform(0, _WEEKS_SECONDS, n))
    times = [at, at + random.normal(1_200, 240, n).clip(300), at + random.normal(LAG_SECONDS, 480, n).clip(900)]
    shift = (times[2] // _SHIFT_SECONDS).astype(int)
    device = random.integers(0, 2, (3, n))  # two at each station
    humidity = _drifting(random, at, 3_600) + 0.7 * random.normal(size=64)[shift] + 0.5 * random.normal(size=n)
    bright = random.normal(size=(3, n))
    risk = (
        np.log(setting.ratio) / _FIFTHS_APART * stats.norm.ppf(stats.rankdata(humidity) / (n + 1))
        + 0.5 * random.normal(size=64)[shift]
        + 0.4 * device[2]
        + 0.3 * device[0]
        + 0.3 * _drifting(random, times[2], 3 * 3_600)
    )
    crack = random.random(n) < setting.crack_rate * np.exp(risk) / np.exp(risk).mean()
    detected = crack & (random.random(n) < 0.85)  # the engine is blind to the others
    thought = 1 / (1 + np.exp(-(-3.5 + 5 * detected + 0.8 * bright[2] + random.normal(size=n))))
    looks = [0.4 * humidity, np.zeros(n), 2.5 * thought]
    kept: list[NDArray[np.bool_]] = []
    chance: list[Floats] = []
    weights: list[Floats] = []
    for station in range(3):
        reasons = np.exp(looks[station] + 0.5 * bright[station] + 0.5 * random.normal(size=n))
        weight = reasons + 0.3 / 0.7 * reasons.mean()
        drawn, p = _per_shift(random, weight, (times[station] // _SHIFT_SECONDS).astype(int), setting.kept)
        kept.append(drawn)
        chance.append(p)
        weights.append(weight)
    rows = np.flatnonzero(kept[2])
    second = priority_sample(
        (weights[2][rows] / chance[2][rows]).tolist(), (1 - random.random(len(rows))).tolist(), setting.labelled
    )
    known = np.where(second.drawn, 1 / second.p, 0.0)
    moments = [[_START + timedelta(seconds=s) for s in times[k].tolist()] for k in range(3)]
    truths = tuple(
        Truth(
            part=f"P-{part}",
            at=moments[2][part],
            station=STATIONS[2],
            device=f"final-{device[2, part]}",
            engine="e1",
            weight=float(1 / chance[2][part]),
            known=float(known[i]),
            holds=frozenset(TARGETS if crack[part] and known[i] else ()),
            guess={"crack": float(thought[part])},
            context={"brightness": float(bright[2, part])},
        )
        for i, part in enumerate(rows.tolist())
    )
    name = "labels"
    if setting.outcomes:
        name = "outcomes"
        truths = tuple(
            Truth(part=f"P-{part}", at=moments[2][part], holds=frozenset(TARGETS if crack[part] else ()))
            for part in range(n)
        )
    sightings = [
        Sighting(
            part=f"P-{part}",
            at=moments[station][part],
            station=STATIONS[station],
            device=f"{STATIONS[station]}-{device[station, part]}",
            visit=part,
            weight=float(1 / chance[station][part]),
            context={
                "brightness": float(bright[station, part]),
                **({"humidity": float(40 + 10 * humidity[part])} if station == 0 else {}),
            },
        )
        for station in ((0, 1, 2) if setting.outcomes else (0, 1))
        for part in np.flatnonzero(kept[station]).tolist()
    ]
    linked = join(Population(name=name, targets=TARGETS, truths=truths), sightings)
    part_of = np.array([int((unit.part or "")[2:]) for unit in linked.units])
    context = _noise(random, times, device)
    tables = tuple(
        replace(
            table,
            values={
                **table.values,
                **{
                    key: _of(values, part_of[table.unit])
                    for key, values in context[STATIONS.index(table.station)].items()
                },
            },
        )
        for table in linked.tables
    )
    noise = {(table.station, key) for table in tables for key in table.values} - {PLANTED}
    return Planted(linked=replace(linked, tables=tables), noise=frozenset(noise))


def _of(values: NDArray[np.float64] | NDArray[np.str_], rows: NDArray[np.int64]) -> Values:
    if values.dtype.kind == "f":
        return np.asarray(values[rows], dtype=np.float64)
    return [str(value) for value in values[rows]]


def _noise(
    random: np.random.Generator, times: list[Floats], device: NDArray[np.int64]
) -> list[dict[str, NDArray[np.float64] | NDArray[np.str_]]]:
    """The variables of ten kinds over the three stations, for every part; brightness is there already."""
    context: list[dict[str, NDArray[np.float64] | NDArray[np.str_]]] = [{}, {}, {}]
    n = int(device.shape[1])
    for number in range(NOISE - 3):
        station, kind = number % 3, number % 10
        at = times[station]
        shift = (at // _SHIFT_SECONDS).astype(int)
        values: NDArray[np.float64] | NDArray[np.str_]
        if kind in (0, 1):
            values = random.normal(size=n)
        elif kind == 2:  # heavy-tailed
            values = random.standard_cauchy(n)
        elif kind == 3:  # drifts over hours
            values = _drifting(random, at, float(random.choice([3_600, 4 * 3_600, 86_400]))) + 0.2 * random.normal(
                size=n
            )
        elif kind == 4:  # differs from shift to shift
            values = random.normal(size=64)[shift] + 0.5 * random.normal(size=n)
        elif kind == 5:  # the same for a shift: a crew, a lot
            values = random.choice(np.array(["A", "B", "C", "D"]), size=64)[shift]
        elif kind == 6:  # differs between the devices of its station
            values = device[station] * random.normal() + random.normal(size=n)
        elif kind == 7:  # a trend over the weeks
            values = at / _WEEKS_SECONDS * random.normal(0, 3) + random.normal(size=n)
        elif kind == 8:  # a text of few or many values
            names = np.array([f"v{v}" for v in range(100)])
            values = names[np.minimum(random.geometric(random.uniform(0.2, 0.6), n), 99)]
        else:  # the time of day
            values = np.sin(2 * np.pi * at / 86_400 + random.uniform(0, 6)) + 0.3 * random.normal(size=n)
        context[station][f"noise-{number:03d}"] = values
    return context


def _drifting(random: np.random.Generator, at: Floats, seconds: float) -> Floats:
    """A stationary process of variance 1 that forgets in so many seconds, at any times."""
    grid = np.arange(0, at.max() + 2 * seconds / 8, seconds / 8)
    keep = np.exp(-1 / 8)
    steps = random.normal(size=len(grid)) * np.sqrt(1 - keep**2)
    steps[0] = random.normal()
    values = np.empty(len(grid))
    value = 0.0
    for i, step in enumerate(steps.tolist()):
        value = keep * value + step
        values[i] = value
    return np.interp(at, grid, values)


def _per_shift(
    random: np.random.Generator, weight: Floats, shift: NDArray[np.int64], share: float
) -> tuple[NDArray[np.bool_], Floats]:
    """Keep a share of each shift's frames by priority sampling; also the chance of every frame."""
    drawn, p = np.zeros(len(weight), dtype=np.bool_), np.ones(len(weight))
    for number in np.unique(shift):
        members = np.flatnonzero(shift == number)
        sample = priority_sample(
            weight[members].tolist(), (1 - random.random(len(members))).tolist(), max(1, round(share * len(members)))
        )
        drawn[members], p[members] = sample.drawn, sample.p
    return drawn, p
