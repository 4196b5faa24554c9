"""The clock as an argument, so that tests drive time."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the client learns the time."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC; may jump."""

    def monotonic(self) -> float:
        """Return seconds that never go back; for intervals and deadlines."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall-clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds of the monotonic clock."""
        return time.monotonic()
