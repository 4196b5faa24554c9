"""Reading untrusted JSON objects field by field, with errors that name the field.

Window records, heartbeats, channels and settings come from outside. Each is read through a `Fields`, which knows the
document it belongs to and raises that document's own error.
"""

import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from edge_client.contract.errors import AndonError, InvalidName
from edge_client.contract.names import check_class_name, check_name
from edge_client.contract.quoting import quoted

MAX_WHOLE = 1 << 53  # the largest count up to which a float is exact
_LARGEST = sys.float_info.max  # JSON's whole numbers may be larger, which no arithmetic with floats takes


class Fields:
    """A JSON object that is read with checks.

    Args:
        value: What the document holds; anything but an object is refused.
        document: Its name for messages, such as ``"window record"``.
        error: The class of error to raise.
    """

    def __init__(self, value: object, document: str, error: type[AndonError]) -> None:
        self._document = document
        self._error = error
        if not isinstance(value, Mapping):
            raise self.wrong("", value, "an object")
        self._value: Mapping[str, Any] = value

    def wrong(self, field: str, found: object, expected: str) -> AndonError:
        """Build the error for a field."""
        where = f"{self._document}: {field}" if field else self._document
        return self._error(f"{where} is {quoted(found)}: expected {expected}")

    def only(self, allowed: set[str]) -> None:
        """Refuse fields that are not known, so that a misspelt one can't be silently ignored."""
        unknown = sorted(set(self._value) - allowed)
        if unknown:
            found = quoted(unknown, most=200)
            raise self._error(f"{self._document} has unknown fields {found}: known are {sorted(allowed)}")

    def unknown(self, known: set[str]) -> list[str]:
        """Return the names of fields that are not known, for documents whose newer versions stay readable."""
        return sorted(str(name)[:80] for name in set(self._value) - known)

    def raw(self, name: str) -> Any:
        """Return a field of any type."""
        if name not in self._value:
            raise self._error(f"{self._document} lacks the field {name!r}")
        return self._value[name]

    def has(self, name: str) -> bool:
        """Tell whether a field is there."""
        return name in self._value

    def text(self, name: str, *, most: int = 512) -> str:
        """Return a string of at most `most` characters."""
        value = self.raw(name)
        if not isinstance(value, str) or len(value) > most:
            raise self.wrong(name, value, f"a text of at most {most} characters")
        return value

    def optional_text(self, name: str, *, most: int = 512) -> str | None:
        """Return a string, or None for null."""
        return None if self.raw(name) is None else self.text(name, most=most)

    def whole(self, name: str, *, least: int = 0, most: int = MAX_WHOLE) -> int:
        """Return an integer in bounds."""
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(name, value, f"a whole number from {least} to {most}")
        return value

    def number(self, name: str, *, least: float = -math.inf, most: float = math.inf) -> float:
        """Return a finite number in bounds."""
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
            raise self.wrong(name, value, "a finite number")
        if not least <= value <= most:
            raise self.wrong(name, value, f"a number from {least} to {most}")
        return float(value)

    def name(self, name: str, what: str) -> str:
        """Return the name of a device, site, station, inspection, channel or engine."""
        try:
            return check_name(self.raw(name), what)
        except InvalidName as error:
            raise self._error(f"{self._document}: {name}: {error}") from error

    def names(self, name: str, what: str, *, most: int) -> tuple[str, ...]:
        """Return a list of such names."""
        try:
            return tuple(check_name(item, what) for item in self.items(name, most=most))
        except InvalidName as error:
            raise self._error(f"{self._document}: {name}: {error}") from error

    def class_name(self, name: str) -> str:
        """Return the name of a class."""
        try:
            return check_class_name(self.raw(name))
        except InvalidName as error:
            raise self._error(f"{self._document}: {name}: {error}") from error

    def class_names(self, name: str, *, most: int) -> tuple[str, ...]:
        """Return a list of names of classes."""
        try:
            return tuple(check_class_name(item) for item in self.items(name, most=most))
        except InvalidName as error:
            raise self._error(f"{self._document}: {name}: {error}") from error

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        value = self.raw(name)
        if not isinstance(value, bool):
            raise self.wrong(name, value, "true or false")
        return value

    def time(self, name: str) -> datetime:
        """Return an aware time in UTC from ISO 8601 text."""
        text = self.text(name, most=64)
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            raise self.wrong(name, text, "a time in ISO 8601") from None
        if value.tzinfo is None:
            raise self.wrong(name, text, "a time with its offset from UTC")
        try:
            return value.astimezone(UTC)
        except OverflowError:  # year 1 or 9999, with an offset that leads out of the calendar
            raise self.wrong(name, text, "a time from year 1 to 9999 in UTC") from None

    def items(self, name: str, *, most: int) -> list[Any]:
        """Return a list of at most `most` items."""
        value = self.raw(name)
        if not isinstance(value, list) or len(value) > most:
            raise self.wrong(name, value, f"a list of at most {most} items")
        return value

    def texts(self, name: str, *, most: int, longest: int = 512) -> tuple[str, ...]:
        """Return a list of at most `most` strings of at most `longest` characters."""
        items = self.items(name, most=most)
        for item in items:
            if not isinstance(item, str) or len(item) > longest:
                raise self.wrong(name, item, f"texts of at most {longest} characters")
        return tuple(items)

    def objects(self, name: str, *, most: int) -> list["Fields"]:
        """Return a list of objects, each to be read in turn."""
        return [
            Fields(v, f"{self._document}: {name}[{i}]", self._error) for i, v in enumerate(self.items(name, most=most))
        ]

    def within(self, name: str) -> "Fields":
        """Return an object, to be read in turn."""
        return Fields(self.raw(name), f"{self._document}: {name}", self._error)

    def mapping(self, name: str, *, most: int = 4096) -> dict[str, Any]:
        """Return an object of at most `most` fields."""
        value = self.raw(name)
        if not isinstance(value, dict) or len(value) > most:
            raise self.wrong(name, value, f"an object of at most {most} fields")
        return value

    def counts(self, name: str) -> dict[str, int]:
        """Return an object from names to counts."""
        value = self.mapping(name)
        for key, count in value.items():
            if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_WHOLE:
                raise self.wrong(f"{name}[{quoted(key)}]", count, "a count")
        return value

    def numbers(self, name: str) -> dict[str, float]:
        """Return an object from names to finite numbers."""
        inner = Fields(self.mapping(name), f"{self._document}: {name}", self._error)
        return {key: inner.number(key) for key in self.mapping(name)}
