"""Failed sign-ins: after some, each next try must wait longer.

1. Failures are counted for a name at an address, for an address, and for a name. The first two wait up to a quarter of
   an hour; a name alone waits at most a few seconds, so that nobody can lock somebody else out.
2. A try is counted before its password is looked at: many at once do not slip through.
3. A success forgets the failures of that name at that address. All are forgotten after an hour without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete

from data.catalog import Catalog
from data.catalog.people import SignInFailureRow

FORGOTTEN_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How many failures are free, and how the wait grows then.

    Attributes:
        free: Failures without a wait.
        longest: Seconds, at most.
    """

    free: int
    longest: float

    def wait(self, failures: int) -> timedelta:
        """How long the next try must wait after so many failures: 1, 2, 4 … seconds.

        >>> [Patience(free=3, longest=60).wait(n).total_seconds() for n in (3, 4, 5, 6, 40)]
        [0.0, 1.0, 2.0, 4.0, 60.0]
        """
        beyond = failures - self.free
        return timedelta(seconds=0.0 if beyond <= 0 else min(self.longest, 2.0 ** min(beyond - 1, 30)))


BOTH = Patience(free=4, longest=900.0)
ADDRESS = Patience(free=20, longest=900.0)  # a plant may sit behind one address
NAME = Patience(free=30, longest=5.0)


def _keys(name: str, address: str) -> tuple[tuple[str, Patience], ...]:
    name, address = name.lower()[:64], address[:64]
    return ((f"both:{name}:{address}", BOTH), (f"address:{address}", ADDRESS), (f"name:{name}", NAME))


def try_now(catalog: Catalog, name: str, address: str, *, at: datetime) -> timedelta:
    """Count a try as failed until it succeeds, and return how long it must wait; zero: go on (rules 1 and 2)."""
    with catalog.session() as session:
        known = {key: session.get(SignInFailureRow, key) for key, _ in _keys(name, address)}
        for row in known.values():
            if row is not None and at - row.last_at > FORGOTTEN_AFTER:
                row.failures = 0
        left = timedelta(0)
        for key, patience in _keys(name, address):
            if (row := known[key]) is not None:
                left = max(left, row.last_at + patience.wait(row.failures) - at)
        if left > timedelta(0):
            return left
        for key, row in known.items():
            if row is None:
                session.add(SignInFailureRow(key=key, failures=1, last_at=at))
            else:
                row.failures, row.last_at = row.failures + 1, at
        return timedelta(0)


def succeeded(catalog: Catalog, name: str, address: str) -> None:
    """Take the try back, and forget what failed before it (rule 3)."""
    with catalog.session() as session:
        for key, _ in _keys(name, address):
            row = session.get(SignInFailureRow, key)
            if row is None:
                continue
            if key.startswith("both:") or row.failures <= 1:
                session.delete(row)
            else:
                row.failures -= 1


def forget_old(catalog: Catalog, *, at: datetime) -> None:
    """Delete what no longer counts."""
    with catalog.session() as session:
        session.execute(delete(SignInFailureRow).where(SignInFailureRow.last_at < at - FORGOTTEN_AFTER))
