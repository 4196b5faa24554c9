"""Which settings hold on this device now: what the cloud signed, laid over what the device's own file says.

1. What is not signed holds as the device's own file says. A key that the file lists in `[settings] local_only` holds
   as it says whatever is signed, save `engines.deny`.
2. Layers have hours and ends, so what holds changes by itself: `refresh` looks again, and tells whoever listens.
3. The local time is that of `[settings] time_zone`, else the machine's; it is the bucket's time where the device's
   clock is wrong and the bucket told better.
4. A campaign that has ended, or of another place, is not among those in force.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from edge_client.background import step_back
from edge_client.config import Config
from edge_client.contract.campaigns import Campaign, Campaigns
from edge_client.contract.matching import Place
from edge_client.contract.setting_layers import DEFAULT, LayeredSettings, resolve
from edge_client.contract.threshold_override import overrides

log = logging.getLogger("edge_client.settings")

_LOOK_SECONDS = 1.0  # how soon a layer's hour is seen


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedDocuments:
    """The last accepted documents; None where none was ever signed."""

    default: LayeredSettings | None = None
    own: LayeredSettings | None = None
    campaigns: Campaigns | None = None

    @property
    def layers(self) -> tuple[LayeredSettings, ...]:
        """Those of settings, the default one first."""
        return tuple(document for document in (self.default, self.own) if document is not None)

    def versions(self, device: str) -> dict[str, int]:
        """Return the versions by what they are for, for the heartbeat."""
        found = {DEFAULT: self.default, device: self.own, "campaigns": self.campaigns}
        return {name: document.version for name, document in found.items() if document is not None}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EffectiveSettings:
    """What holds now.

    Attributes:
        values: Key → value, of the keys that are signed and not pinned.
        campaigns: Those to follow.
        versions: Of the documents that this comes from.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    campaigns: tuple[Campaign, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)

    def of(self, key: str, otherwise: Any) -> Any:
        """Return a key's value; `otherwise` where it is not signed."""
        return self.values.get(key, otherwise)

    @property
    def advisory(self) -> bool:
        """Whether the application is told not to act."""
        return bool(self.of("mode.advisory", False))

    @property
    def deny_engines(self) -> tuple[str, ...]:
        """SHA-256 of engines that must not run."""
        return tuple(self.of("engines.deny", ()))

    @property
    def thresholds(self) -> dict[str, float]:
        """Thresholds in place of the engine's."""
        return overrides(self.values)

    def same_as(self, other: "EffectiveSettings") -> bool:
        """Whether nothing that holds differs."""
        return (self.values, [c.id for c in self.campaigns], self.versions) == (
            other.values,
            [c.id for c in other.campaigns],
            other.versions,
        )


class SettingsInForce:
    """Keeps what holds now, and tells of changes.

    Args:
        documents: The last accepted ones.
        place: The device.
        now: The time, aware.
        pinned: Keys of `[settings] local_only`.
        zone: Of the local time; None is the machine's.
    """

    def __init__(
        self,
        documents: SignedDocuments,
        *,
        place: Place,
        now: Callable[[], datetime],
        pinned: Sequence[str] = (),
        zone: tzinfo | None = None,
    ) -> None:
        self.documents = documents
        self._place = place
        self._now = now
        self._pinned = tuple(pinned)
        self._zone = zone
        self._lock = threading.Lock()  # one change at a time reaches the listeners
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._listeners: list[Callable[[EffectiveSettings], None]] = []
        self.problem = ""
        self.now: EffectiveSettings = self._resolve()

    @staticmethod
    def of_device(config: Config, documents: SignedDocuments, now: Callable[[], datetime]) -> "SettingsInForce":
        """Make it for a device's configuration."""
        return SettingsInForce(
            documents,
            place=place_of(config),
            now=now,
            pinned=config.settings.local_only,
            zone=zone_of(config),
        )

    def listen(self, listener: Callable[[EffectiveSettings], None]) -> None:
        """Tell of each change from now on; on the thread that finds it."""
        self._listeners.append(listener)

    def take(self, documents: SignedDocuments) -> None:
        """Follow other documents from now on."""
        self.documents = documents
        self.refresh()

    def refresh(self) -> bool:
        """Look what holds now (rule 2); True when it changed."""
        with self._lock:
            found = self._resolve()
            if found.same_as(self.now):
                return False
            self.now = found
            self._tell(found)
            return True

    def tell(self) -> None:
        """Tell what holds now once more, for a listener that came late."""
        with self._lock:
            self._tell(self.now)

    def _tell(self, settings: EffectiveSettings) -> None:
        self.problem = ""
        for listener in self._listeners:
            try:
                listener(settings)
            except Exception as error:  # a listener's boundary: what it could not follow is told, the rest goes on
                self.problem = f"settings: {error}"
                log.exception("settings could not be followed")

    def start(self) -> None:
        """Look every second, on a thread."""
        self._thread = threading.Thread(target=self._work, name="andon-settings", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _work(self) -> None:
        step_back()
        while not self._stop.wait(_LOOK_SECONDS):
            self.refresh()

    def _resolve(self) -> EffectiveSettings:
        documents, at = self.documents, self._now()
        campaigns = documents.campaigns.campaigns if documents.campaigns is not None else ()
        return EffectiveSettings(
            values=resolve(documents.layers, self._place, at.astimezone(self._zone), pinned=self._pinned),
            campaigns=tuple(campaign for campaign in campaigns if campaign.holds(self._place, at)),
            versions=documents.versions(self._place.device),
        )


def place_of(config: Config) -> Place:
    """Return what a device knows of itself."""
    return Place(
        device=config.device.name,
        site=config.device.site,
        station=config.device.station,
        hardware=config.device.hardware_name(),
        inspection=config.inspection.name,
    )


def zone_of(config: Config) -> ZoneInfo | None:
    """Return the time zone of hours in settings and of uploads; None is the machine's own."""
    return ZoneInfo(config.settings.time_zone) if config.settings.time_zone else None
