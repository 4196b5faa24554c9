"""Which devices a signed document is for: lists of names, held against what a device knows of itself. Pure.

1. Each list that is not empty must hold the device's own name of that kind; with no list at all every device matches.
2. A list of a kind that this client does not know (a newer cloud wrote it) makes the match `uncertain`: it then matches
   no device, since it would match too many.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_client.contract.fields import Fields

KINDS = ("device", "site", "station", "hardware", "inspection")
_MOST_NAMES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a device knows of itself.

    Attributes:
        hardware: What kind of machine it is; "" where it is not known.
    """

    device: str
    site: str = ""
    station: str = ""
    hardware: str = ""
    inspection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Lists of names, one of each kind.

    >>> nights = Match(site=("plant-a",), station=("aoi-1", "aoi-2"))
    >>> nights.takes(Place(device="line-1", site="plant-a", station="aoi-2"))
    True
    >>> nights.takes(Place(device="line-1", site="plant-b", station="aoi-2"))
    False
    """

    device: tuple[str, ...] = ()
    site: tuple[str, ...] = ()
    station: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    inspection: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()

    def takes(self, place: Place) -> bool:
        """Whether a device is meant (rules 1 and 2)."""
        if self.uncertain:
            return False
        lists = ((getattr(self, kind), getattr(place, kind)) for kind in KINDS)
        return all(not wanted or own in wanted for wanted, own in lists)

    def to_payload(self) -> dict[str, Any]:
        """Return plain JSON values; lists that are empty are left out."""
        return {kind: list(names) for kind in KINDS if (names := getattr(self, kind))}

    def __str__(self) -> str:
        """Say it as people do: ``site plant-a, station aoi-1 or aoi-2``."""
        said = [f"{kind} {' or '.join(names)}" for kind in KINDS if (names := getattr(self, kind))]
        said += [f"{kind} (not known here)" for kind in self.uncertain]
        return ", ".join(said) or "every device"


def read_match(fields: Fields, name: str = "match") -> Match:
    """Read what `Match.to_payload` wrote; an absent one is for every device."""
    if not fields.has(name):
        return Match()
    value: Mapping[str, Any] = fields.mapping(name, most=32)
    inner = fields.within(name)
    lists = {kind: inner.names(kind, kind, most=_MOST_NAMES) for kind in KINDS if inner.has(kind)}
    return Match(**lists, uncertain=tuple(sorted(str(kind)[:40] for kind in set(value) - set(KINDS))))
