"""Virtual time, and what the devices' clocks make of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

#: Where a device without a battery for its clock wakes up.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class VirtualClock:
    """The true time; moved by the simulation alone.

    Args:
        start: When it begins.
    """

    def __init__(self, start: datetime) -> None:
        self.start = start
        self.seconds = 0.0

    def now(self) -> datetime:
        """The true time."""
        return self.start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.seconds


class DeviceClock:
    """A device's clock: as long as the true one, but set wrong.

    Args:
        true: The true time.
        ahead_seconds: How far it is ahead; negative when it is behind.
        from_epoch: It began at 1970 instead.
    """

    def __init__(self, true: VirtualClock, *, ahead_seconds: float = 0.0, from_epoch: bool = False) -> None:
        self._true = true
        self._ahead = (EPOCH - true.start) if from_epoch else timedelta(seconds=ahead_seconds)

    def now(self) -> datetime:
        """What the device believes."""
        return self._true.now() + self._ahead

    def monotonic(self) -> float:
        """Seconds, which are right on any device."""
        return self._true.monotonic()
