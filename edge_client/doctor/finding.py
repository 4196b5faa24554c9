"""What one check found."""

from dataclasses import dataclass
from enum import Enum


class Result(Enum):
    """How much it matters."""

    OK = "ok"  # as it should be
    WARNING = "warning"  # works, but somebody should know
    PROBLEM = "problem"  # something fails now or soon


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line.

    Attributes:
        check: What was looked at.
        result: How much it matters.
        found: What was found, and what was expected.
        remedy: What to do; "" when nothing is to be done.
    """

    check: str
    result: Result
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """Return plain JSON values."""
        return {"check": self.check, "result": self.result.value, "found": self.found, "remedy": self.remedy}


def ok(check: str, found: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check=check, result=Result.OK, found=found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """Return a finding that somebody should know."""
    return Finding(check=check, result=Result.WARNING, found=found, remedy=remedy)


def problem(check: str, found: str, remedy: str) -> Finding:
    """Return a finding that something fails."""
    return Finding(check=check, result=Result.PROBLEM, found=found, remedy=remedy)
