"""What must be remembered of requests for help: which were used, and the restart that one asked for.

A small file, written beside its place, synced and renamed before a request is acted on: no request is acted on twice,
whatever happens in between. A damaged file counts as empty; requests end by themselves after minutes.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_client.contract.help import HelpRequest

_MOST_USED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpState:
    """What is remembered.

    Attributes:
        used: Request → when it ends, ISO 8601; those that ended are forgotten.
        restarted_at: When help last restarted this device.
        restarting: The request whose restart is under way, or None.
    """

    used: Mapping[str, str] = field(default_factory=dict)
    restarted_at: str = ""
    restarting: Mapping[str, Any] | None = None

    def with_used(self, request: HelpRequest, now: datetime) -> "HelpState":
        """Return it with one more request used, and without those that ended."""
        live = {name: at for name, at in self.used.items() if datetime.fromisoformat(at) > now}
        kept = dict(list(live.items())[-_MOST_USED:])
        return replace(self, used={**kept, request.id: request.expires_at.isoformat()})


class HelpMemory:
    """The file.

    Args:
        path: Where it lies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> HelpState:
        """Return what is remembered."""
        try:
            value = json.loads(self._path.read_text())
            used = {str(name): str(at) for name, at in value["used"].items()}
            if any(datetime.fromisoformat(at).tzinfo is None for at in used.values()):
                return HelpState()
            restarting = value["restarting"]
            return HelpState(
                used=used,
                restarted_at=str(value["restarted_at"]),
                restarting=dict(restarting) if restarting is not None else None,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return HelpState()

    def save(self, state: HelpState) -> None:
        """Remember durably.

        Raises:
            OSError: The disk failed; nothing is acted on then.
        """
        value = {"used": dict(state.used), "restarted_at": state.restarted_at, "restarting": state.restarting}
        beside = self._path.with_name(f".{self._path.name}.new")
        with open(beside, "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
