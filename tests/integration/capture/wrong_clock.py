"""A clock that runs, from a wrong time on."""

from datetime import UTC, datetime

from edge_client.clock import SystemClock


class WrongClock(SystemClock):
    """Begins at a given time."""

    def __init__(self, begins: datetime) -> None:
        self.offset = begins - datetime.now(UTC)

    def now(self) -> datetime:
        return super().now() + self.offset
