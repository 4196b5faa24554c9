"""A line of three stations on which one variable goes with one defect, and two hundred go with none.

Two weeks, three shifts a day, one part after the other. Humidity at station 1 raises the risk of a crack, which is seen
at station 3 some forty minutes later; the two are joined by part id. Cracks also go with the shift, with the device of
station 3, and drift slowly; scratches go with none of the variables. Every station keeps a share of its frames by
priority sampling, with weights that depend on what the picture is of *and* on what surrounds it (brightness, which is
among the noise, and fog, which goes with humidity). People label some of what station 3 kept, drawn the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from data.causes.values import Population, Sighting, Truth
from data.priority_sampling import priority_sample

STATIONS = ("press", "oven", "final")
PLANTED = ("press", "humidity")
TARGETS = ("crack", "scratch")
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
    """

    ratio: float
    parts: int = 40_000
    labelled: int = 3_000
    kept: float = 0.5
    crack_rate: float = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One draw of the line.

    Attributes:
        noise: (station, key) of every variable that goes with nothing.
    """

    population: Population
    sightings: list[Sighting]
    noise: frozenset[tuple[str, str]]


def draw(setting: Setting, seed: int) -> Planted:
    """Make a line, let its frames be kept and labelled."""
    random = np.random.default_rng(seed)
    n = setting.parts
    at = np.sort(random.uniform(0, _WEEKS_SECONDS, n))
    times = [at, at + random.normal(1_200, 240, n).clip(300), at + random.normal(LAG_SECONDS, 480, n).clip(900)]
    shift = (times[2] // _SHIFT_SECONDS).astype(int)
    device = random.integers(0, 2, n)  # of station 3
    humidity = _drifting(random, at, 3_600) + 0.7 * random.normal(size=64)[shift] + 0.5 * random.normal(size=n)
    bright = random.normal(size=(3, n))
    risk = (
        np.log(setting.ratio) / _FIFTHS_APART * stats.norm.ppf(stats.rankdata(humidity) / (n + 1))
        + 0.5 * random.normal(size=64)[shift]
        + 0.4 * device
        + 0.3 * _drifting(random, times[2], 3 * 3_600)
    )
    crack = random.random(n) < setting.crack_rate * np.exp(risk) / np.exp(risk).mean()
    dull = 0.5 * random.normal(size=64)[shift]
    scratch = random.random(n) < 0.02 * np.exp(dull) / np.exp(dull).mean()

    detected = (crack | scratch) & (random.random(n) < 0.85)  # the engine is blind to the others
    looks = [0.4 * humidity, np.zeros(n), 2.5 * detected]
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
    labelled, p2 = rows[second.drawn], second.p[second.drawn]

    context = _noise(random, labelled, times, device, bright)
    context[0]["humidity"] = (40 + 10 * humidity[labelled]).tolist()
    moments = [[_START + timedelta(seconds=s) for s in times[k][labelled].tolist()] for k in range(3)]
    truths = tuple(
        Truth(
            part=f"P-{part}",
            at=moments[2][i],
            station=STATIONS[2],
            device=f"final-{device[part]}",
            engine="e1",
            weight=float(1 / (chance[2][part] * p2[i])),
            holds=frozenset(name for name, so in (("crack", crack[part]), ("scratch", scratch[part])) if so),
            context={key: values[i] for key, values in context[2].items()},
        )
        for i, part in enumerate(labelled.tolist())
    )
    sightings = [
        Sighting(
            part=f"P-{part}",
            at=moments[station][i],
            station=STATIONS[station],
            device=STATIONS[station],
            visit=part,
            weight=float(1 / chance[station][part]),
            context={key: values[i] for key, values in context[station].items()},
        )
        for station in (0, 1)
        for i, part in enumerate(labelled.tolist())
        if kept[station][part]
    ]
    noise = {(STATIONS[k], key) for k in range(3) for key in context[k]} - {PLANTED}
    return Planted(
        population=Population(name="labels", targets=TARGETS, truths=truths),
        sightings=sightings,
        noise=frozenset(noise),
    )


def _noise(
    random: np.random.Generator, rows: NDArray[np.int64], times: list[Floats], device: NDArray[np.int64], bright: Floats
) -> list[dict[str, list[float | str]]]:
    """Two hundred variables of ten kinds over the three stations, for the labelled parts."""
    context: list[dict[str, list[float | str]]] = [{}, {}, {}]
    for station in range(3):
        context[station]["brightness"] = bright[station][rows].tolist()  # decides, among others, what is kept
    n = len(rows)
    for number in range(NOISE - 3):
        station, kind = number % 3, number % 10
        at = times[station][rows]
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
        elif kind == 6:  # differs between the devices of station 3
            values = device[rows] * random.normal() + random.normal(size=n)
        elif kind == 7:  # a trend over the weeks
            values = at / _WEEKS_SECONDS * random.normal(0, 3) + random.normal(size=n)
        elif kind == 8:  # a text of few or many values
            values = np.array([f"v{v}" for v in random.geometric(random.uniform(0.2, 0.6), n)])
        else:  # the time of day
            values = np.sin(2 * np.pi * at / 86_400 + random.uniform(0, 6)) + 0.3 * random.normal(size=n)
        context[station][f"noise-{number:03d}"] = values.tolist()
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
