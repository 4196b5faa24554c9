"""What a check for releases came to, and what a device tells of its updates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from edge_client.contract.heartbeat import Quarantined, Rollout


class Check(Enum):
    """How a check ended."""

    UP_TO_DATE = "up to date"  # the engine that the channel names is in service and confirmed
    ON_PROBATION = "on probation"  # it is in service and being watched
    SWAPPED = "swapped"  # it came into service just now
    NO_RELEASE = "no release"  # the channel names no engine, or updates are not configured
    OFFLINE = "offline"  # the bucket can't be reached; normal
    RETRY = "retry"  # disk or machine; tried again
    REFUSED = "refused"  # what the bucket holds is not acceptable; nothing changed
    QUARANTINED = "quarantined"  # this device tried the engine and will not again


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOutcome:
    """The result of one check; `engine_*` and `version` describe the newest release that was accepted as signed."""

    check: Check
    reason: str = ""
    engine_id: str = ""
    engine_sha256: str = ""
    version: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "check": self.check.value}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> UpdateOutcome:
        """Read what `to_json` returned."""
        return UpdateOutcome(**{**value, "check": Check(value["check"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateStatus:
    """The updater's part of a heartbeat.

    Attributes:
        place: ``factory``, ``a`` or ``b``.
        phase: ``steady``, ``staged`` or ``probation``.
        engine_id: The engine in service.
        rollout: The newest release and what became of it here.
        problems: What a person should know; empty when all is well.
        swaps: Exchanges of the engine since the start.
        variant: What the engine in service is among the files of its model.
    """

    place: str
    phase: str
    engine_id: str
    engine_sha256: str
    rollout: Rollout = field(default_factory=Rollout)
    metadata_versions: Mapping[str, int] = field(default_factory=dict)
    quarantined: tuple[Quarantined, ...] = ()
    problems: tuple[str, ...] = ()
    last_check: UpdateOutcome | None = None
    last_check_at: datetime | None = None
    swaps: int = 0
    variant: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **asdict(self),
            "last_check": self.last_check.to_json() if self.last_check else None,
            "last_check_at": self.last_check_at.isoformat() if self.last_check_at else None,
        }
