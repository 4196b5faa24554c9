"""Hours of the week, for uploads and for settings. Pure; they are those of the clock on the wall beside the device.

1. A schedule is a list of ranges ``[weekdays] HH:MM-HH:MM``: ``22:00-05:00``, ``mon-fri 18:00-06:00``,
   ``sat,sun 00:00-24:00``. No range at all: always.
2. A range that ends at or before its begin goes on into the next day; its weekdays are those on which it begins.
3. On the night when the clocks change, the told waiting time may be an hour off; whether it is open never is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge_client.contract.errors import ConfigError
from edge_client.contract.quoting import quoted

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_RANGE = re.compile(r"(?:(?P<days>[a-z,\-]+) +)?(?P<h1>\d\d):(?P<m1>\d\d) *- *(?P<h2>\d\d):(?P<m2>\d\d)")
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """One range: minutes of the day; `end` may be past 24 hours."""

    days: frozenset[int]
    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Some hours of the week; empty is always.

    >>> nights = Schedule.read(["22:00-05:00"])
    >>> nights.is_open(datetime(2026, 1, 5, 4, 59)), nights.is_open(datetime(2026, 1, 5, 5, 0))
    (True, False)
    >>> nights.seconds_until_open(datetime(2026, 1, 5, 21, 0))
    3600.0
    """

    hours: tuple[Hours, ...] = ()

    @staticmethod
    def read(texts: Sequence[str]) -> "Schedule":
        """Read ranges (rule 1).

        Raises:
            ConfigError: One cannot be read.
        """
        return Schedule(hours=tuple(_hours(text) for text in texts))

    def is_open(self, local: datetime) -> bool:
        """Tell whether a local time is within them."""
        if not self.hours:
            return True
        minute, today = local.hour * 60 + local.minute, local.weekday()
        return any(
            (h.begin <= minute < h.end and today in h.days)
            or (minute + _DAY_MINUTES < h.end and (today - 1) % 7 in h.days)
            for h in self.hours
        )

    def seconds_until_open(self, local: datetime) -> float:
        """Return the seconds until it is open; 0 when it is."""
        if self.is_open(local):
            return 0.0
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        begins = (
            midnight + timedelta(days=ahead, minutes=h.begin)
            for ahead in range(8)
            for h in self.hours
            if (local.weekday() + ahead) % 7 in h.days
        )
        return min((begin - local).total_seconds() for begin in begins if begin > local)


def _hours(text: str) -> Hours:
    found = _RANGE.fullmatch(text.strip().lower())
    if found is None:
        raise ConfigError(
            f"{quoted(text)}: expected '22:00-05:00', or with weekdays before it 'mon-fri 18:00-06:00' or "
            "'sat,sun 00:00-24:00'"
        )
    begin, end = (_minute(text, found[h], found[m]) for h, m in (("h1", "m1"), ("h2", "m2")))
    if begin == _DAY_MINUTES:
        raise ConfigError(f"{quoted(text)} begins at 24:00: expected 00:00")
    return Hours(days=_weekdays(text, found["days"]), begin=begin, end=end if end > begin else end + _DAY_MINUTES)


def _minute(text: str, hour: str, minute: str) -> int:
    at = int(hour) * 60 + int(minute)
    if int(minute) > 59 or at > _DAY_MINUTES:
        raise ConfigError(f"{quoted(text)} names {hour}:{minute}: expected a time from 00:00 to 24:00")
    return at


def _weekdays(text: str, days: str | None) -> frozenset[int]:
    if days is None:
        return frozenset(range(7))
    found: set[int] = set()
    for part in days.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last and last not in _DAYS):
            raise ConfigError(
                f"{quoted(text)} names the day {quoted(part)}: expected {', '.join(_DAYS)}, or a range such as mon-fri"
            )
        begin = _DAYS.index(first)
        length = (_DAYS.index(last or first) - begin) % 7
        found |= {(begin + n) % 7 for n in range(length + 1)}
    return frozenset(found)
