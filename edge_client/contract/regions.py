"""Regions of a frame, as texts: ``x,y x,y`` is a rectangle by two corners, three points or more a polygon.

Coordinates are shares of the frame's sides, from 0 to 1, from its upper left: they hold whatever the camera's size.

>>> Region.read("0.5,0 1,0.25").points
((0.5, 0.0), (1.0, 0.25))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_client.contract.errors import ConfigError
from edge_client.contract.quoting import quoted

MOST_REGIONS = 32
MOST_POINTS = 64
LONGEST_TEXT = 1000
_EXPECTED = "expected 'x,y x,y' (two corners of a rectangle) or three points or more, each from 0 to 1"


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle (two points) or a polygon."""

    points: tuple[tuple[float, float], ...]

    @staticmethod
    def read(text: str) -> Region:
        """Read one region.

        Raises:
            ConfigError: It is none, or covers nothing.
        """
        points: list[tuple[float, float]] = []
        for word in text.split():
            try:
                x, y = (float(number) for number in word.split(","))
            except ValueError:
                raise ConfigError(f"region {quoted(text)}: {quoted(word)} is no point: {_EXPECTED}") from None
            if not (0 <= x <= 1 and 0 <= y <= 1):  # also refuses nan
                raise ConfigError(f"region {quoted(text)}: {quoted(word)} is outside of the frame: {_EXPECTED}")
            points.append((x, y))
        if not 2 <= len(points) <= MOST_POINTS:
            raise ConfigError(f"region {quoted(text)} has {len(points)} points: {_EXPECTED}, at most {MOST_POINTS}")
        if len({x for x, _ in points}) < 2 or len({y for _, y in points}) < 2:
            raise ConfigError(f"region {quoted(text)} covers nothing: {_EXPECTED}")
        return Region(tuple(points))


def read_regions(texts: Sequence[str]) -> tuple[Region, ...]:
    """Read several regions.

    Raises:
        ConfigError: One is none, or there are too many.
    """
    if len(texts) > MOST_REGIONS:
        raise ConfigError(f"{len(texts)} regions: at most {MOST_REGIONS}")
    return tuple(Region.read(text) for text in texts)
