"""What things are worth to the plant: stated in ``policy.toml`` for all inspections, or by one for itself.

1. A price that nobody stated is unknown, not nothing: what it would price is shown as a count.
2. An inspection's own prices are settings of it (``value.escape``, …), so `andon settings` shows and changes them too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from data.catalog import Catalog
from data.inspections import Inspection, edit_settings
from data.policy import ValuePolicy
from edge_client.contract.errors import ConfigError

SECTION = "value"
KINDS = ("escape", "false_alarm", "label", "gigabyte")
_MOST = 1e9
_MOST_CURRENCY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices in one currency; None where nobody stated one.

    Attributes:
        currency: Of all of them, such as ``EUR``.
        escape: Of a defect that is passed.
        false_alarm: Of an ok part that is stopped.
        label: Of a person's answer about one frame.
        gigabyte: Of 10⁹ bytes sent and stored.
    """

    currency: str = "EUR"
    escape: float | None = None
    false_alarm: float | None = None
    label: float | None = None
    gigabyte: float | None = None

    @property
    def complete(self) -> bool:
        """Whether all of them are stated."""
        return None not in (self.escape, self.false_alarm, self.label, self.gigabyte)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self)}


def prices_of(inspection: Inspection, policy: ValuePolicy) -> Prices:
    """The prices that hold for an inspection: its own, else the policy's (where 0 stands for not stated).

    Raises:
        ConfigError: A stated price is no price.
    """
    stated = inspection.settings.get(SECTION, {})
    if not isinstance(stated, Mapping):
        raise ConfigError(f"inspection {inspection.name}: its setting {SECTION} is {stated!r}; expected prices by name")
    common: dict[str, Any] = {kind: getattr(policy, kind) or None for kind in KINDS}
    own = {name: check_price(name, value) for name, value in stated.items()}
    found: dict[str, Any] = {"currency": policy.currency, **common, **own}
    return Prices(**found)


def state_prices(catalog: Catalog, inspection: str, prices: Mapping[str, Any]) -> Inspection:
    """State prices for one inspection; None leaves one to the policy.

    Raises:
        ConfigError: One of them is no price; nothing is changed.
        InspectionError: The inspection is unknown.
    """
    given = {name: None if value is None else check_price(name, value) for name, value in prices.items()}

    def edit(current: Inspection) -> dict[str, Any]:
        merged = {**current.settings.get(SECTION, {}), **given}
        stated = {name: value for name, value in merged.items() if value is not None}
        return {**current.settings, SECTION: stated or None}

    return edit_settings(catalog, inspection, edit)


def check_price(name: str, value: Any) -> float | str:
    """Return a price, or the currency.

    Raises:
        ConfigError: It is none.
    """
    if name == "currency":
        if not isinstance(value, str) or not 0 < len(value.strip()) <= _MOST_CURRENCY:
            raise ConfigError(f"currency {value!r}: expected one to {_MOST_CURRENCY} characters, such as EUR")
        return value.strip()
    if name not in KINDS:
        raise ConfigError(f"price {name!r} is unknown; known are {[*KINDS, 'currency']}")
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not math.isfinite(value)
        or not 0 <= value <= _MOST
    ):
        raise ConfigError(f"price of {name} {value!r}: expected a number of 0 to {_MOST:.0f}")
    return float(value)
