"""A document of device settings: layers, each a few values for some devices, perhaps at some hours or for some time.

`settings/default.layers` is for all devices, `settings/DEVICE.layers` for one; both are signed targets of the role
`rollouts`.

1. Layers are laid over one another in their order, the device's own document over the default one; where two state
   the same key the later one holds. `engines.deny` is put together instead.
2. A layer holds for the devices that its `match` takes, within its `hours` (those of the clock on the wall beside the
   device, `schedule.py`) and from `since` until `until` (moments, so that no change of clocks moves them).
3. A value out of bounds, or hours that cannot be read, refuse the document as a whole: the one before it stays.
4. What a newer cloud wrote and this client does not know costs only itself, and is told: an unknown key is left out;
   a layer with a condition that is not known is left out, since it would hold too often.
5. `version` rises with every change; a rollback is a new version with older content.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from edge_client.contract.errors import BadRelease, ConfigError
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.matching import Match, Place, read_match
from edge_client.contract.names import check_name
from edge_client.contract.schedule import Schedule
from edge_client.contract.setting_keys import SETTING_KEYS, UNITED
from edge_client.contract.signing import canonical_json

SCHEMA = 1
DEFAULT = "default"
MOST_LAYERS = 200
_DOCUMENT = "device settings"
_CONDITIONS = ("match", "hours", "since", "until")
_LAYER_FIELDS = {"name", "values", *_CONDITIONS}


def layers_target(scope: str = DEFAULT) -> str:
    """TUF target path of a device's layers, or of those for all devices."""
    return f"settings/{check_name(scope, 'device')}.layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A few values and when they hold (rule 2).

    Attributes:
        name: Unique in its document.
        values: Key → value, all known and within bounds.
        unknown: Keys and conditions that this client does not know (rule 4); never written.
        uncertain: Whether an unknown one is a condition; then it has no values.
    """

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    match: Match = field(default_factory=Match)
    hours: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    unknown: tuple[str, ...] = ()
    uncertain: bool = False

    def holds(self, place: Place, local: datetime) -> bool:
        """Whether it holds on a device at a local time, aware (rules 2 and 4)."""
        if self.uncertain or not self.match.takes(place):
            return False
        if (self.since is not None and local < self.since) or (self.until is not None and local >= self.until):
            return False
        return Schedule.read(self.hours).is_open(local)

    def to_payload(self) -> dict[str, Any]:
        """Return plain JSON values; conditions that are not there are left out."""
        value: dict[str, Any] = {"name": self.name, "values": dict(self.values)}
        if match := self.match.to_payload():
            value["match"] = match
        if self.hours:
            value["hours"] = list(self.hours)
        for name, at in (("since", self.since), ("until", self.until)):
            if at is not None:
                value[name] = at.isoformat()
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class LayeredSettings:
    """One version of one document."""

    version: int
    issued_at: datetime
    layers: tuple[Layer, ...] = ()

    def to_json(self) -> bytes:
        """Serialise for signing."""
        return canonical_json(
            {
                "schema": SCHEMA,
                "version": self.version,
                "issued_at": self.issued_at.isoformat(),
                "layers": [layer.to_payload() for layer in self.layers],
            }
        )

    @staticmethod
    def from_json(data: bytes) -> "LayeredSettings":
        """Read and check (rules 3 and 4).

        Raises:
            BadRelease: Not such a document, or a value is out of bounds.
        """
        fields = Fields(read_json(data, _DOCUMENT, BadRelease), _DOCUMENT, BadRelease)
        if fields.whole("schema") != SCHEMA:
            raise fields.wrong("schema", fields.raw("schema"), f"{SCHEMA}; update the client")
        layers = tuple(_layer(each) for each in fields.objects("layers", most=MOST_LAYERS))
        names = [layer.name for layer in layers]
        if len(set(names)) != len(names):
            raise fields.wrong("layers", names, "layers with names of their own")
        return LayeredSettings(version=fields.whole("version"), issued_at=fields.time("issued_at"), layers=layers)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What this client does not know of it (rule 4)."""
        return tuple(sorted({f"{layer.name}: {name}" for layer in self.layers for name in layer.unknown}))


def resolve(
    documents: Iterable[LayeredSettings], place: Place, local: datetime, *, pinned: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the values that hold on a device (rules 1 and 2).

    Args:
        documents: The default one first.
        place: The device.
        local: Its local time, aware.
        pinned: Keys that its own file keeps to itself.
    """
    found: dict[str, Any] = {}
    for document in documents:
        for layer in document.layers:
            if not layer.holds(place, local):
                continue
            for key, value in layer.values.items():
                if key in UNITED:
                    found[key] = tuple(dict.fromkeys((*found.get(key, ()), *value)))
                elif key not in pinned:
                    found[key] = value
    return found


def _layer(fields: Fields) -> Layer:
    match = read_match(fields)
    hours = fields.texts("hours", most=100, longest=100) if fields.has("hours") else ()
    try:
        Schedule.read(hours)
    except ConfigError as error:
        raise BadRelease(f"{_DOCUMENT}: hours: {error}") from error
    given = fields.mapping("values", most=200)
    conditions = [*(f"match by {kind}" for kind in match.uncertain), *fields.unknown(_LAYER_FIELDS)]
    values = {name: SETTING_KEYS[name].read(value) for name, value in given.items() if name in SETTING_KEYS}
    return Layer(
        name=fields.name("name", "layer"),
        values={} if conditions else values,  # written again, as a device keeps it, it must not hold either
        match=match,
        hours=hours,
        since=fields.time("since") if fields.has("since") else None,
        until=fields.time("until") if fields.has("until") else None,
        unknown=(*conditions, *(str(name)[:80] for name in given if name not in SETTING_KEYS)),
        uncertain=bool(conditions),
    )
