"""What a model looks at: which backbone, how finely, which part of the frame, in how many pieces, from how many sides.

1. A choice is a value: it names all that is done to a frame before features come out, and a trunk's file carries it.
2. Downscaling hides small defects. Against that help a larger side, a region of interest (pixels are spent where
   defects can be) and tiles (each piece of the region is resized by itself); each costs time on the device.
   A second view, the frame turned by half, steadies what the network says of it; it costs a second run of it.
3. The default is the default backbone over the whole frame at 224 pixels; its trunk's file is that of old.
4. Whether another choice pays is measured on the inspection's own frames (`input_trial`), never assumed.

A choice is written `BACKBONE@SIDE[/ROWSxCOLUMNS][/overlap=SHARE][/views=2][/region=LEFT,TOP,RIGHT,BOTTOM]`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from edge_client.contract.errors import ConfigError

DEFAULT_BACKBONE = "efficientnet-lite0"
WHOLE = (0.0, 0.0, 1.0, 1.0)
ONE_TILE = (1, 1)
ONE_VIEW = 1
#: Every part of a choice, in one line for people.
MEANINGS: Mapping[str, str] = {
    "backbone": "the network: efficientnet-lite0, efficientnet-lite2, or one that is registered",
    "side": "pixels of the square that the network sees; a larger one shows smaller defects and costs time",
    "region": "left, top, right, bottom of the part that is looked at, as shares of the frame",
    "tiles": "rows and columns that the region is cut into, such as 2x2; each is resized by itself",
    "overlap": "share of a tile's side that it has in common with its neighbour",
    "views": "1: the frame as it is; 2: also turned by half, and the mean of what the network says",
}
#: Below, networks have no grid left; above, one frame takes a second on a device's processor.
SIDES = range(32, 1025)
#: More pieces than these no device has time for.
MOST_TILES = 16
#: The frame as it is, and turned by half; quarter turns too brought no more (docs/adr).
MOST_VIEWS = 2
_LEAST_EXTENT = 0.02  # of a region, as a share of the frame's side: a narrower one is a slip
_MOST_OVERLAP = 0.5  # beyond, a point would lie in more than two tiles of one row
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_GRAMMAR = "BACKBONE@SIDE[/ROWSxCOLUMNS][/overlap=SHARE][/views=2][/region=LEFT,TOP,RIGHT,BOTTOM]"
_TEXT = re.compile(
    r"(?P<backbone>[^@/]+)@(?P<side>\d+)(/(?P<tiles>\d+x\d+))?(/overlap=(?P<overlap>[^/]+))?(/views=(?P<views>\d+))?"
    r"(/region=(?P<region>[^/]+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputChoice:
    """What a model looks at.

    Attributes:
        backbone: A name that `training.backbones` knows, or `package.module:Factory`.
        side: Pixels of the square that the network sees, of each tile.
        region: Left, top, right and bottom of the part that is looked at, as shares of the frame's width and height.
        tiles: Rows and columns that the region is cut into.
        overlap: Share of a tile's side that it has in common with its neighbour; rounded to whole patches.
        views: From how many sides the region is looked at: as it is, or also turned by 180 degrees.

    Raises:
        ConfigError: A value is out of range or of the wrong kind.
    """

    backbone: str = DEFAULT_BACKBONE
    side: int = 224
    region: tuple[float, float, float, float] = WHOLE
    tiles: tuple[int, int] = ONE_TILE
    overlap: float = 0.0
    views: int = ONE_VIEW

    def __post_init__(self) -> None:
        if not isinstance(self.backbone, str) or not _NAME.fullmatch(self.backbone):
            raise ConfigError(
                f"backbone = {self.backbone!r}: expected a name such as {DEFAULT_BACKBONE!r} or "
                "'package.module:Factory'"
            )
        if not _is_whole(self.side) or self.side not in SIDES:
            raise ConfigError(
                f"side = {self.side!r}: expected pixels from {SIDES.start} to {SIDES.stop - 1}, such as 224"
            )
        self._check_region()
        if len(self.tiles) != 2 or not all(_is_whole(n) and n >= 1 for n in self.tiles):
            raise ConfigError(f"tiles = {self.tiles!r}: expected rows and columns, such as [2, 2]")
        if self.tiles[0] * self.tiles[1] > MOST_TILES:
            raise ConfigError(
                f"tiles = {self.tiles!r}: that is {self.tiles[0] * self.tiles[1]} tiles a frame; "
                f"expected at most {MOST_TILES}"
            )
        if not _is_real(self.overlap) or not 0 <= self.overlap <= _MOST_OVERLAP:
            raise ConfigError(f"overlap = {self.overlap!r}: expected a share of a tile's side, 0 to {_MOST_OVERLAP}")
        if self.overlap and self.tiles == ONE_TILE:
            raise ConfigError(f"overlap = {self.overlap!r} with one tile: leave it away, or set tiles")
        if not _is_whole(self.views) or not ONE_VIEW <= self.views <= MOST_VIEWS:
            raise ConfigError(
                f"views = {self.views!r}: expected 1 (the frame as it is) or {MOST_VIEWS} (also turned by half)"
            )

    def _check_region(self) -> None:
        form = "expected left, top, right, bottom as shares of the frame, such as [0.1, 0.0, 0.9, 1.0]"
        if len(self.region) != 4 or not all(_is_real(edge) and 0 <= edge <= 1 for edge in self.region):
            raise ConfigError(f"region = {self.region!r}: {form}")
        left, top, right, bottom = self.region
        if right - left < _LEAST_EXTENT or bottom - top < _LEAST_EXTENT:
            raise ConfigError(
                f"region = {self.region!r}: it is {right - left:g} wide and {bottom - top:g} high; expected at least "
                f"{_LEAST_EXTENT} of the frame each; {form}"
            )

    @property
    def tiled(self) -> bool:
        """Whether the region is cut into pieces."""
        return self.tiles != ONE_TILE

    @property
    def turned(self) -> bool:
        """Whether the region is also looked at turned by half."""
        return self.views != ONE_VIEW

    @property
    def cropped(self) -> bool:
        """Whether less than the whole frame is looked at."""
        return self.region != WHOLE

    @staticmethod
    def from_dict(values: Mapping[str, Any], *, where: str = "[input]") -> InputChoice:
        """Read settings; what they do not name keeps its default.

        Args:
            values: `backbone`, `side`, `region` (four numbers, or a text with commas), `tiles` (two numbers, or a
                text such as `2x2`), `overlap` and `views`.
            where: The settings' name for messages.

        Raises:
            ConfigError: An unknown key or an unacceptable value.

        >>> str(InputChoice.from_dict({"side": 320, "tiles": "1x2"}))
        'efficientnet-lite0@320/1x2'
        """
        known = {field.name for field in fields(InputChoice)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {sorted(known)}")
        read = dict(values)
        if "region" in read:
            read["region"] = _numbers(read["region"], ",", f"{where} region")
        if "tiles" in read:
            counts = _numbers(read["tiles"], "x", f"{where} tiles")
            read["tiles"] = tuple(int(n) if float(n).is_integer() else n for n in counts)
        try:
            return InputChoice(**read)
        except ConfigError as error:
            raise ConfigError(f"{where} {error}") from None

    @staticmethod
    def parse(text: str) -> InputChoice:
        """Read a choice as it is written on a command line.

        >>> InputChoice.parse("efficientnet-lite2@256/2x2/overlap=0.25").tiles
        (2, 2)

        Raises:
            ConfigError: The text is no such choice.
        """
        found = _TEXT.fullmatch(text)
        if not found:
            raise ConfigError(f"input {text!r}: expected {_GRAMMAR}, such as {DEFAULT_BACKBONE}@224/2x2")
        given = {key: value for key, value in found.groupdict().items() if value is not None}
        values: dict[str, Any] = {**given, "side": int(given["side"])}
        if "views" in given:
            values["views"] = int(given["views"])
        if "overlap" in given:
            values["overlap"] = _number(given["overlap"], f"input {text!r}: overlap")
        return InputChoice.from_dict(values, where=f"input {text!r}:")

    def to_dict(self) -> dict[str, Any]:
        """As JSON for an inspection's settings."""
        return {
            "backbone": self.backbone,
            "side": self.side,
            "region": list(self.region),
            "tiles": list(self.tiles),
            "overlap": self.overlap,
            "views": self.views,
        }

    def __str__(self) -> str:
        """Return it as it is written; `parse` reads it again."""
        text = f"{self.backbone}@{self.side}"
        if self.tiled:
            text += f"/{self.tiles[0]}x{self.tiles[1]}"
        if self.overlap:
            text += f"/overlap={self.overlap!r}"
        if self.turned:
            text += f"/views={self.views}"
        if self.cropped:
            text += (
                f"/region={','.join(f'{edge:g}' if float(f'{edge:g}') == edge else repr(edge) for edge in self.region)}"
            )
        return text


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(value: object, separator: str, what: str) -> tuple[Any, ...]:
    if isinstance(value, str):
        return tuple(_number(part, what) for part in value.split(separator))
    if isinstance(value, Sequence) and all(_is_real(item) for item in value):
        return tuple(value) if separator == "x" else tuple(float(item) for item in value)
    raise ConfigError(f"{what} = {value!r}: expected numbers, as a list or as text with {separator!r} between them")


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{what} = {text!r}: expected a number") from None


#: The default backbone over the whole frame at 224 pixels.
DEFAULT_CHOICE = InputChoice()
