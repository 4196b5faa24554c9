"""The likely cause of a drift of pictures, in words, from the frames since it began.

1. Dirt: a few cells of the image, and no more, are lighter or darker than their surroundings in most frames, and by
   more than the frames otherwise look new.
2. Blur: fine detail went while coarse detail stayed, and that is a large part of what makes the frames look new.
3. Light: frames are brighter or darker, and that is a large part of it too. Of blur and light, whichever moved more.
4. Everything else is something new in front of the camera, or unknown.
5. A measure counts as moved if it did so by more than four standard errors.

The words name what was seen and how much of it; they are a likely cause, not a proof.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.drift.evidence import Floats
from data.drift.finding import Cause, Finding
from data.drift.memory import Memory
from data.drift.quality import GRID
from data.drift.reference import SCORES, Reference
from data.drift.watch import WatchState

Bools = NDArray[np.bool_]

_LEAST_FRAMES = 8  # fewer say little of how much a measure moved
_SPOT = 1.5  # standard deviations by which a cell differs on average
_MOST_SPOT_CELLS = 0.04  # of all cells: more is a change of the whole picture
_BLURRED = 0.5  # standard deviations by which sharpness fell
_BLUR_OVER_NOVELTY = 0.4
_LIGHT = 0.3  # standard deviations by which brightness moved
_LIGHT_OVER_NOVELTY = 0.5
_ERRORS = 4.0
_NINTHS = (
    *("the top left", "the top", "the top right"),
    *("the left", "the middle", "the right"),
    *("the bottom left", "the bottom", "the bottom right"),
)


def name_cause(reference: Reference, state: WatchState) -> Finding:
    """Name the likely cause of an alarm."""
    latest = state.memory.latest(max(_LEAST_FRAMES, state.since_change()))
    moved = _moved(reference, latest)
    spots = latest.share @ latest.placed.spots
    cells = np.abs(spots) >= _SPOT
    change = {name: float(np.exp(moved[name] * spread)) - 1.0 for name, spread in _spreads(reference)}
    figures = {
        "brightness_change": change["brightness"],
        "contrast_change": change["contrast"],
        "fine_detail_change": change["sharpness"],
        "novelty_sd": moved["novelty"],
        "spot_cells": float(cells.sum()),
        "spot_sd": float(spots[_strongest(spots)]),
        "spot_ninth": float(ninth_of(spots)),
    }
    sure = {name: by for name, by in moved.items() if abs(by) * np.sqrt(len(latest)) >= _ERRORS}
    cause, words = _judge(sure, change, spots, cells)
    return Finding(cause=cause, words=words, frames=len(latest), figures=figures)


def _judge(moved: dict[str, float], change: dict[str, float], spots: Floats, cells: Bools) -> tuple[Cause, str]:
    """Rules 1 to 4; `moved` has the measures of rule 5 alone."""
    novelty = max(moved.get("novelty", 0.0), 0.0)
    if 0 < cells.sum() <= _MOST_SPOT_CELLS * len(cells) and np.abs(spots).max() >= novelty:
        shade = "dark" if spots[_strongest(spots)] < 0 else "light"
        return Cause.DIRT, f"dirt: a {shade} spot stays at {place_of(spots)} of the image"
    blurred, lit = -moved.get("sharpness", 0.0), abs(moved.get("brightness", 0.0))
    if blurred >= max(_BLURRED, _BLUR_OVER_NOVELTY * novelty, lit):
        return Cause.BLUR, f"blur: {-change['sharpness']:.0%} of the fine detail is gone"
    if lit >= max(_LIGHT, _LIGHT_OVER_NOVELTY * novelty):
        way = "brighter" if change["brightness"] > 0 else "darker"
        return Cause.LIGHT, f"light: images are {way} by {abs(change['brightness']):.0%}"
    return Cause.NEW, "something new: images look unlike the reference (another product, another position, or unknown)"


def place_of(spots: Floats) -> str:
    """Where in the image the strongest spot is.

    >>> there = np.zeros(GRID * GRID); there[GRID + GRID - 1] = -3.0
    >>> place_of(there), ninth_of(there)
    ('the top right', 2)
    """
    return _NINTHS[ninth_of(spots)]


def ninth_of(spots: Floats) -> int:
    """The same as a number: 0 is the top left, 8 the bottom right."""
    row, column = divmod(_strongest(spots), GRID)
    return 3 * (3 * row // GRID) + 3 * column // GRID


def _strongest(spots: Floats) -> int:
    return int(np.argmax(np.abs(spots)))


def _moved(reference: Reference, latest: Memory) -> dict[str, float]:
    """By how many standard deviations of single frames each score's mean moved."""
    mean = latest.share @ latest.placed.scores
    return {
        name: float((mean[i] - reference.centre[i]) / max(reference.spread[i], 1e-9)) for i, name in enumerate(SCORES)
    }


def _spreads(reference: Reference) -> list[tuple[str, float]]:
    return [(name, max(float(reference.spread[i]), 1e-9)) for i, name in enumerate(SCORES)]
