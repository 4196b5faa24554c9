"""Extras: what is sent besides the probability sample - flags by the operator, events.

They have at most a fifth of the spool; images among them at most the window's own byte budget once more. When they run
out of room the oldest image that is not yet in a shard makes place.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from edge_client.steps import Extra

EXTRA_SHARE = 0.2  # of G


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of an extra: refused for want of room, known already, or taken; and who made room."""

    refused: bool = False
    known: bool = False
    evicted: tuple[str, ...] = ()


class Extras:
    """Book-keeping of extras in the spool's database; every call is inside one of its transactions.

    Args:
        db: The spool's connection.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.bytes = 0
        self.count()

    def count(self) -> None:
        """Count the bytes anew."""
        row = self._db.execute(
            "SELECT coalesce(sum(bytes), 0) FROM entries WHERE extra IS NOT NULL AND state = 'kept'"
        ).fetchone()
        self.bytes = int(row[0])

    def take(self, step: Extra, *, pending: Sequence[Extra], room: int) -> Taken:
        """Decide about one extra and charge its bytes.

        Args:
            step: The extra.
            pending: Extras of the same commit that are not yet rows.
            room: Most bytes of all extras.
        """
        known = self._db.execute("SELECT state FROM entries WHERE sample_id = ?", (step.sample_id,)).fetchone()
        if known is not None and known[0] != "evicted":
            return Taken(known=True)  # it is here already, as part of the sample
        size = len(step.sealed)
        if step.kind != "events" and self._held(step.window, pending) + size > self._budget(step.window):
            return Taken(refused=True)
        evicted = self._make_room(self.bytes + size - room)
        if self.bytes + size > room:
            return Taken(refused=True, evicted=evicted)
        self.bytes += size
        return Taken(evicted=evicted)

    def _budget(self, window: int) -> int:
        return int(self._db.execute("SELECT byte_budget FROM windows WHERE window = ?", (window,)).fetchone()[0])

    def _held(self, window: int, pending: Sequence[Extra]) -> int:
        row = self._db.execute(
            "SELECT coalesce(sum(bytes), 0) FROM entries WHERE window = ? AND state = 'kept' AND extra IS NOT NULL "
            "AND extra != 'events'",
            (window,),
        ).fetchone()
        return int(row[0]) + sum(len(e.sealed) for e in pending if e.window == window and e.kind != "events")

    def _make_room(self, needed: int) -> tuple[str, ...]:
        if needed <= 0:
            return ()
        evicted: list[str] = []
        for sample_id, size in self._db.execute(
            "SELECT sample_id, bytes FROM entries WHERE extra IS NOT NULL AND extra != 'events' AND state = 'kept' "
            "AND shard IS NULL ORDER BY sequence"
        ).fetchall():
            if needed <= 0:
                break
            self._db.execute("UPDATE entries SET state = 'evicted' WHERE sample_id = ?", (sample_id,))
            evicted.append(sample_id)
            self.bytes -= size
            needed -= size
        return tuple(evicted)
