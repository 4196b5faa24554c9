"""Logs as text for people or as JSON lines for machines; for ``andon-edge`` and for applications.

The library itself only calls `logging.getLogger("edge_client…")` and never touches handlers: an application that has
its own logging need not call anything here.

    {"time": "2026-05-04T03:02:01.123456+00:00", "level": "WARNING", "logger": "edge_client.uploader",
     "message": "upload: …", "device": "line-1", "inspection": "solar-cells"}

`exception` is there when one was logged, and every ``extra=`` value that JSON can hold. A line is always one line.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from edge_client.contract.errors import ConfigError

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# What every record has; anything else on it came by `extra=`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object.

    Args:
        device: Named in every line, unless the record brings its own.
        inspection: Likewise.
    """

    def __init__(self, *, device: str = "", inspection: str = "") -> None:
        super().__init__()
        self._place = {"device": device, "inspection": inspection}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._place,
        }
        line |= {key: value for key, value in vars(record).items() if key not in _OWN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=repr)


class _Handler(logging.StreamHandler[TextIO]):
    """The handler that `set_up_logging` made, so that it finds its own again. Without a stream it writes to whatever
    standard error is at that moment.
    """

    def __init__(self, stream: TextIO | None, own_level: int) -> None:
        self._follows = stream is None
        self._own_level = own_level
        super().__init__(stream)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < self._own_level and record.name.partition(".")[0] == "edge_client":
            return
        if self._follows:
            self.stream = sys.stderr
        super().emit(record)


def set_up_logging(
    kind: str = "text",
    *,
    level: str = "warning",
    device: str = "",
    inspection: str = "",
    stream: TextIO | None = None,
) -> None:
    """Send the logs of this process to a stream. Called again it replaces what it set up before, and nothing else.

    Args:
        kind: ``"text"`` or ``"json"``.
        level: The least level that is written: ``"debug"``, ``"info"``, ``"warning"`` or ``"error"``.
        device: Named in every JSON line.
        inspection: Likewise.
        stream: Where to; default standard error.

    Raises:
        ConfigError: No such kind or level.
    """
    if kind not in FORMATS:
        raise ConfigError(f"log format {kind!r} is not known: expected one of {FORMATS}")
    if level.lower() not in LEVELS:
        raise ConfigError(f"log level {level!r} is not known: expected one of {LEVELS}")
    own_level = logging.getLevelNamesMapping()[level.upper()]
    handler = _Handler(stream, own_level)
    handler.setFormatter(
        JsonLines(device=device, inspection=inspection) if kind == "json" else logging.Formatter(_TEXT)
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # other libraries are heard when something is wrong
    # a request for help is answered with what was worth an INFO, whatever the stream is told
    logging.getLogger("edge_client").setLevel(min(own_level, logging.INFO))
