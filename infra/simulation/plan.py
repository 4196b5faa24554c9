"""What is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge_client.contract.errors import ConfigError
from infra.simulation.lines import BADNESSES, Badness


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A fleet, its troubles, and what is released to it.

    Attributes:
        devices: How many.
        sites: Plants that they are spread over; 0: one for each hundred.
        warm_up_hours: The fleet runs its first engine so long before the release: what a rollout compares with.
        most_hours: Longest time after the release.
        settle_hours: The fleet is watched so long after the rollout has ended.
        bad: What is wrong with the released engine.
        loss: Share of requests that are lost.
        lag_seconds: Heartbeats arrive so much later, on average.
        skew_seconds: Standard deviation of the devices' clocks.
        without_clock: Share of devices whose clock begins at 1970.
        reboots_per_day: Of each device.
        stolen: Devices whose key and credentials a thief has.
        poisoned: Devices that say of every release that it failed.
        dark: Devices that go silent for good at the release.
        frames_per_second: Of each line.
        poll_seconds: Between looks for releases.
        heartbeat_seconds: Most time between heartbeats.
        engine_bytes: Padding of each engine file.
        children: Devices whose trials run in a child process, as on a real device.
        seed: Of everything that is drawn.
    """

    devices: int = 100
    sites: int = 0
    warm_up_hours: float = 4.0
    most_hours: float = 24.0
    settle_hours: float = 0.5
    bad: Badness = "none"
    loss: float = 0.0
    lag_seconds: float = 0.0
    skew_seconds: float = 0.0
    without_clock: float = 0.0
    reboots_per_day: float = 0.0
    stolen: int = 0
    poisoned: int = 0
    dark: int = 0
    frames_per_second: float = 0.5
    poll_seconds: float = 300.0
    heartbeat_seconds: float = 300.0
    engine_bytes: int = 0
    children: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            ConfigError: A number out of range.
        """
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"{name} is {value}: expected {least:g} to {most:g}")
        if self.bad not in BADNESSES:
            raise ConfigError(f"bad is {self.bad!r}: expected one of {', '.join(BADNESSES)}")
        if self.stolen + self.poisoned + self.dark > self.devices:
            raise ConfigError(
                f"{self.stolen} stolen, {self.poisoned} poisoned and {self.dark} dark devices are more than the "
                f"{self.devices} there are"
            )

    @property
    def plants(self) -> int:
        """How many sites there are."""
        return self.sites or max(1, self.devices // 100)

    def to_dict(self) -> Mapping[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "sites": self.plants}


_BOUNDS: dict[str, tuple[float, float]] = {
    "devices": (1, 20_000),
    "sites": (0, 20_000),
    "warm_up_hours": (0.1, 240),
    "most_hours": (0.1, 240),
    "settle_hours": (0, 48),
    "loss": (0, 0.9),
    "lag_seconds": (0, 3600),
    "skew_seconds": (0, 10 * 365 * 86_400),
    "without_clock": (0, 1),
    "reboots_per_day": (0, 200),
    "stolen": (0, 20_000),
    "poisoned": (0, 20_000),
    "dark": (0, 20_000),
    "frames_per_second": (0.001, 100),
    "poll_seconds": (1, 86_400),
    "heartbeat_seconds": (1, 86_400),
    "engine_bytes": (0, 64_000_000),
    "children": (0, 1000),
}
