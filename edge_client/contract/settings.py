"""Remote settings of a device: a signed target, so that budgets and modes change without a visit."""

from dataclasses import asdict, dataclass
from typing import Any

from edge_client.contract.errors import BadRelease
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.signing import canonical_json


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
