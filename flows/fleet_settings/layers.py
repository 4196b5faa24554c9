"""Changes to the layers of a settings document. Pure.

1. A layer is found by its conditions: the same devices, hours and time. Where there is none it is made, after those
   that are there, and named after its conditions.
2. A layer that states nothing any more is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from edge_client.contract.errors import BadRelease
from edge_client.contract.matching import KINDS, Match
from edge_client.contract.setting_keys import SETTING_KEYS, Kind
from edge_client.contract.setting_layers import Layer, LayeredSettings
from flows.fleet_settings.signing import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """When a layer holds."""

    match: Match = field(default_factory=Match)
    hours: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    @staticmethod
    def of(layer: Layer) -> Conditions:
        """Those of a layer."""
        return Conditions(match=layer.match, hours=layer.hours, since=layer.since, until=layer.until)

    @property
    def always(self) -> bool:
        """Whether there are none."""
        return self == Conditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one layer.

    Attributes:
        values: To state.
        unset: Keys to state no more.
        name: Of the layer; "" finds it by its conditions.
        drop: Take the layer of that name out.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    unset: Sequence[str] = ()
    conditions: Conditions = field(default_factory=Conditions)
    name: str = ""
    drop: bool = False


def changed(document: LayeredSettings | None, change: Change, version: int, at: datetime) -> LayeredSettings:
    """Return the document with a change.

    Raises:
        SettingsError: There is no such layer or value to take away.
    """
    layers = list(document.layers) if document is not None else []
    if change.drop:
        kept = [layer for layer in layers if layer.name != change.name]
        if len(kept) == len(layers):
            raise SettingsError(_no_layer(change.name, layers))
        return LayeredSettings(version=version, issued_at=at, layers=tuple(kept))
    place = _find(layers, change)
    if place is None:
        if change.unset and not change.values:
            raise SettingsError(
                f"no layer with these conditions states anything, so {change.unset[0]!r} cannot be unset; there are "
                f"{_names(layers)}"
            )
        name = change.name or _free_name(change.conditions, {layer.name for layer in layers})
        conditions = change.conditions
        layers.append(
            Layer(
                name=name,
                match=conditions.match,
                hours=conditions.hours,
                since=conditions.since,
                until=conditions.until,
            )
        )
        place = len(layers) - 1
    layer = layers[place]
    missing = [key for key in change.unset if key not in layer.values]
    if missing:
        raise SettingsError(f"the layer {layer.name!r} does not state {missing[0]!r}: it states {sorted(layer.values)}")
    values = {key: value for key, value in layer.values.items() if key not in change.unset}
    layers[place] = replace(layer, values={**values, **change.values})
    return LayeredSettings(version=version, issued_at=at, layers=tuple(each for each in layers if each.values))


def read_values(texts: Mapping[str, Any]) -> dict[str, Any]:
    """Check values as devices will; a single text stands for a list of one.

    Raises:
        SettingsError: An unknown key; the message names the likeliest.
        BadRelease: A value is out of bounds.
    """
    from difflib import get_close_matches

    found = {}
    for name, value in texts.items():
        key = SETTING_KEYS.get(name)
        if key is None:
            near = get_close_matches(name, SETTING_KEYS, n=1) or [k for k in SETTING_KEYS if k.split(".")[1] == name]
            perhaps = f"; do you mean {near[0]}?" if near else ""
            raise SettingsError(f"devices have no setting {name!r}{perhaps} `andon fleet-settings keys` lists all")
        if key.kind in (Kind.HOURS, Kind.DIGESTS, Kind.REGIONS) and isinstance(value, str):
            value = [part.strip() for part in value.split(";")]
        try:
            found[name] = key.read(value)
        except BadRelease as error:
            raise BadRelease(f"{error} ({key.meaning})") from error
    return found


def _find(layers: Sequence[Layer], change: Change) -> int | None:
    if not change.name:
        return next((i for i, layer in enumerate(layers) if Conditions.of(layer) == change.conditions), None)
    place = next((i for i, layer in enumerate(layers) if layer.name == change.name), None)
    if place is not None and not change.conditions.always and Conditions.of(layers[place]) != change.conditions:
        raise SettingsError(
            f"the layer {change.name!r} has other conditions: drop it first (`--drop {change.name}`), or choose "
            "another name"
        )
    return place


def _free_name(conditions: Conditions, taken: Collection[str]) -> str:
    parts = ["-or-".join(names) for kind in KINDS if (names := getattr(conditions.match, kind))]
    parts += [*conditions.hours, *(["for-a-time"] if conditions.since or conditions.until else [])]
    plain = re.sub(r"[^a-z0-9._-]+", "-", "-".join(parts).lower()).strip("-._")[:50] or "all"
    plain = plain.replace("..", ".")
    return next(name for n in range(len(taken) + 1) if (name := plain if n == 0 else f"{plain}-{n + 1}") not in taken)


def _names(layers: Sequence[Layer]) -> str:
    return ", ".join(repr(layer.name) for layer in layers) or "none"


def _no_layer(name: str, layers: Sequence[Layer]) -> str:
    return f"there is no layer {name!r}: there are {_names(layers)}"
