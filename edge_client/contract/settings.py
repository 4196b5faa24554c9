"""The first form of a device's signed settings: flat, one document for a device or for all, unknown fields refused.

Devices whose client is older than layers (`setting_layers.py`) read no other; newer ones read it where no layers are
signed, as one layer that states all of it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from edge_client.contract.errors import BadRelease
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.setting_keys import SETTING_KEYS
from edge_client.contract.setting_layers import Layer, LayeredSettings
from edge_client.contract.signing import canonical_json

_KEYS = {
    "byte_budget": "capture.byte_budget",
    "window_seconds": "capture.window_seconds",
    "audit_share": "capture.audit_share",
    "advisory": "mode.advisory",
    "recipient": "cloud.recipient",
    "deny_engines": "engines.deny",
}
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)  # a flat document does not say when it was issued


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """What the cloud may set; each value replaces the one in the device's own file.

    Attributes:
        byte_budget: B, sealed bytes a window may keep.
        window_seconds: Length of a capture window.
        audit_share: φ, the share of the sampling weight that every frame gets whatever it looks like.
        advisory: Everything runs, the application is told not to act.
        recipient: The cloud's age recipient; None keeps the device's own.
        deny_engines: SHA-256 of engines that must not run.
    """

    byte_budget: int = 2_000_000
    window_seconds: float = 300.0
    audit_share: float = 0.3
    advisory: bool = False
    recipient: str | None = None
    deny_engines: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """Serialise for signing."""
        return canonical_json(asdict(self))

    @staticmethod
    def from_json(data: bytes) -> "DeviceSettings":
        """Read and check; fields that are absent keep their default, unknown ones are refused.

        Raises:
            BadRelease: Not settings, or a value out of bounds.
        """
        default = asdict(DeviceSettings())
        value: Any = read_json(data, "device settings", BadRelease)
        given = Fields(value, "device settings", BadRelease)
        given.only(set(default))
        fields = Fields({**default, "deny_engines": [], **value}, "device settings", BadRelease)
        return DeviceSettings(
            byte_budget=fields.whole("byte_budget"),
            window_seconds=fields.number("window_seconds", least=0.1, most=7 * 86_400),
            audit_share=fields.number("audit_share", least=0.01, most=0.99),
            advisory=fields.flag("advisory"),
            recipient=fields.optional_text("recipient"),
            deny_engines=fields.texts("deny_engines", most=10_000, longest=64),
        )

    def as_layers(self) -> LayeredSettings:
        """Return what it states as layers; version 0.

        Raises:
            BadRelease: A recipient or a digest is none, which the flat form does not look at.
        """
        stated = {_KEYS[name]: value for name, value in asdict(self).items() if value not in (None, ())}
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in stated.items()}
        values = {key: SETTING_KEYS[key].read(value) for key, value in plain.items()}
        return LayeredSettings(version=0, issued_at=_BEGINNING, layers=(Layer(name="flat", values=values),))

    @staticmethod
    def of(values: Mapping[str, Any]) -> "DeviceSettings":
        """Return what the flat form can say of the values of layers."""
        return DeviceSettings(**{name: values[key] for name, key in _KEYS.items() if key in values})
