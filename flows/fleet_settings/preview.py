"""Who is affected by a change of settings, and how: each device's values before and after. Pure.

1. A device's values are compared as it would resolve them itself: now, and at the next moment at which each layer with
   hours or a beginning holds. What differs then is told with those hours.
2. What no layer states is the device's own file's business, which the cloud does not know.
3. Hours are those of the device's wall; which moment that is on another clock does not matter here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from edge_client.contract.matching import Place
from edge_client.contract.schedule import Schedule
from edge_client.contract.setting_layers import Layer, LayeredSettings, resolve

OWN_FILE = None  # stands for what the device's own file says

Documents = Sequence[LayeredSettings]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One value that changes on a device.

    Attributes:
        before: None: what the device's own file says.
        after: Likewise.
        when: "" for now; else in which hours or from when on.
    """

    key: str
    before: Any
    after: Any
    when: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """A device and what changes on it."""

    place: Place
    differences: tuple[Difference, ...]


def preview(pairs: Iterable[tuple[Place, Documents, Documents]], now: datetime) -> list[Affected]:
    """Return the devices on which something changes.

    Args:
        pairs: Each device with its documents before and after, the default one first.
        now: Aware.
    """
    found = []
    for place, before, after in pairs:
        differences = _differences(place, before, after, now)
        if differences:
            found.append(Affected(place=place, differences=tuple(differences)))
    return found


def grouped(affected: Sequence[Affected]) -> list[tuple[tuple[Difference, ...], list[str]]]:
    """Devices by what changes on them, the largest group first."""
    groups: dict[str, tuple[tuple[Difference, ...], list[str]]] = {}
    for each in affected:
        groups.setdefault(repr(each.differences), (each.differences, []))[1].append(each.place.device)
    return sorted(groups.values(), key=lambda group: -len(group[1]))


def _differences(place: Place, before: Documents, after: Documents, now: datetime) -> list[Difference]:
    found: list[Difference] = []
    known: set[tuple[str, str, str]] = set()
    for when, at in [("", now), *_moments((*before, *after), place, now)]:
        old, new = resolve(before, place, at), resolve(after, place, at)
        for key in sorted({*old, *new}):
            was, will = old.get(key, OWN_FILE), new.get(key, OWN_FILE)
            same = (key, repr(was), repr(will))
            if was != will and same not in known:
                known.add(same)
                found.append(Difference(key=key, before=was, after=will, when=when))
    return found


def _moments(documents: Documents, place: Place, now: datetime) -> list[tuple[str, datetime]]:
    """When to look besides now (rule 1)."""
    found = {}
    for document in documents:
        for layer in document.layers:
            if layer.match.takes(place) and not layer.uncertain and not layer.holds(place, now):
                moment = _next(layer, now)
                if moment is not None:
                    found[conditions_in_words(layer)] = moment
    return list(found.items())


def _next(layer: Layer, now: datetime) -> datetime | None:
    at = now if layer.since is None else max(now, layer.since)
    at += timedelta(seconds=Schedule.read(layer.hours).seconds_until_open(at))
    return at if layer.until is None or at < layer.until else None


def conditions_in_words(layer: Layer) -> str:
    """When a layer holds on the devices it is for; "" for always."""
    said = [" and ".join(layer.hours)] if layer.hours else []
    said += [f"from {layer.since:%Y-%m-%d %H:%M} UTC"] if layer.since else []
    said += [f"until {layer.until:%Y-%m-%d %H:%M} UTC"] if layer.until else []
    return ", ".join(said)
