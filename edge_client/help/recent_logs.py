"""The last lines that the client logged, in memory: what a request for logs is answered with.

They are those of the logger `edge_client` and below that its level lets pass, bounded in number and length. All
clients of a process share them.
"""

import logging
import threading
from collections import deque
from datetime import UTC, datetime

_MOST_LINES = 2000
_LONGEST = 2000  # characters of a line, with its exception


class RecentLogs(logging.Handler):
    """Remembers lines. `listen` begins, `leave` ends it when nobody needs it any more."""

    def __init__(self, lines: int = _MOST_LINES) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=lines)
        self._users = 0
        self._counting = threading.Lock()

    def listen(self) -> "RecentLogs":
        """Listen from now on."""
        with self._counting:
            self._users += 1
            if self._users == 1:
                logging.getLogger("edge_client").addHandler(self)
        return self

    def leave(self) -> None:
        """One user less."""
        with self._counting:
            self._users = max(0, self._users - 1)
            if self._users == 0:
                logging.getLogger("edge_client").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a record as one line."""
        try:
            message = record.getMessage()
            if record.exc_info:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
            at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
            line = f"{at} {record.levelname} {record.name}: {message}"[:_LONGEST]
            self._lines.append(line.replace("\n", " | "))
        except Exception:  # noqa: BLE001 -- as logging's own handlers do: a record that cannot be written costs nothing
            self.handleError(record)

    def last(self, lines: int) -> list[str]:
        """Return the last lines, oldest first."""
        self.acquire()
        try:
            return list(self._lines)[-lines:]
        finally:
            self.release()


RECENT_LOGS = RecentLogs()
