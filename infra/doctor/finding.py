"""What one check found."""

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Level(Enum):
    """How much it matters."""

    OK = "ok"  # as it should be
    NOTE = "note"  # works, but somebody should know
    WRONG = "wrong"  # something fails now or soon


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line.

    Attributes:
        check: What was looked at.
        text: What was found, and what was expected.
        action: What to do; empty when nothing is.
    """

    check: str
    level: Level
    text: str
    action: str = ""

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"check": self.check, "level": self.level.value, "text": self.text, "action": self.action}
