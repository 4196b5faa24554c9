"""The bucket's own time, learnt from the `Date` of its answers, for a device whose clock is wrong.

1. Every answer tells its time, a refusal too. The offset is that of the last answer.
2. A request is signed with the local clock while that is at most `NEGLIGIBLE_SECONDS` off, else with the server's
   time: SigV4 refuses a signature that is more than fifteen minutes from the server's clock.
3. Nothing else follows the server: what releases may be believed is decided without it (`updates.trusted`).
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

NEGLIGIBLE_SECONDS = 60.0
_LAST_YEAR = 9000  # nearer to the calendar's end, the time that passes could lead out of it


class ServerTime:
    """The server's clock as far as it is known.

    Args:
        now: The local clock, aware, UTC.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._offset = timedelta(0)

    def learn(self, date: str | None) -> None:
        """Take an answer's `Date`; one that cannot be read says nothing."""
        try:
            told = parsedate_to_datetime(date or "")
            if told.tzinfo is None:
                return
            told = told.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):  # numbers of any length; 9999, and an offset out of the calendar
            return
        if told.year > _LAST_YEAR:
            return
        with self._lock:
            self._offset = told - self._now()

    @property
    def offset_seconds(self) -> float:
        """How far the server's clock is ahead of the local one, to a second or so; 0 before the first answer."""
        with self._lock:
            return self._offset.total_seconds()

    def now(self) -> datetime:
        """Return the time that requests are signed with (rule 2)."""
        with self._lock:
            wrong = abs(self._offset.total_seconds()) > NEGLIGIBLE_SECONDS
            return self._now() + (self._offset if wrong else timedelta(0))
