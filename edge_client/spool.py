"""The spool: what `capture` acknowledged, safe on disk until the bucket has it. A shell round the rules of `sampler`.

1.  A commit applies steps in the order the frames were seen: blobs are written and synced with their folder first,
    then ONE transaction takes rows, evictions, τ and counters. After the commit the blobs of evicted rows are
    removed.
2.  What is committed is the population; a frame whose step did not commit was never seen. When a commit fails nothing
    of it counts and the sampler is read back from disk.
3.  A restart seals the window that was open; blobs without a row are removed, rows without a blob become `damaged`
    and count as excluded.
4.  G = min(configured, what the spool holds + free space - reserve), asked anew at every commit. Extras are charged
    to G and have at most a fifth of it; images among them have at most B a window; oldest first they make room.
5.  A blob that the disk refuses is an eviction: τ rises to its q.
6.  Nothing is removed on account of any error of the bucket.
"""

import hashlib
import shutil
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge_client.clock import Clock, SystemClock
from edge_client.extras import EXTRA_SHARE, Extras
from edge_client.sampler import Held, Sampler
from edge_client.spool_database import (
    SpoolError,
    SpoolFiles,
    is_damage,
    random_epoch,
    remedy,
    sync_folder,
    write_durably,
)
from edge_client.steps import Committed, Extra, Offer, Open, Seal, Seen, Step
from edge_client.tally import Tally

_LEDGER_ROWS = 200_000  # how many past samples the ledger remembers


@dataclass(slots=True)
class _Writing:
    """State of one commit."""

    blobs: dict[str, tuple[Offer | Extra, bytes]] = field(default_factory=dict)
    evicted: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)
    unlink: list[str] = field(default_factory=list)


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class Spool:
    """Open a spool folder; see the module's rules.

    Args:
        folder: Where it lives.
        limit_bytes: Most bytes it may hold.
        reserve_bytes: Free space that it never touches.
        clock: For the time of a restart.
        free_bytes: Tells a folder's free space.
        new_epoch: Draws an epoch's number.

    Raises:
        SpoolError: The folder is in use or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limit_bytes: int,
        reserve_bytes: int = 0,
        clock: Clock | None = None,
        free_bytes: Callable[[Path], int] = _free_bytes,
        new_epoch: Callable[[], int] = random_epoch,
    ) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self._limit_bytes = limit_bytes
        self._reserve_bytes = reserve_bytes
        self._clock = clock or SystemClock()
        self._free_bytes = free_bytes
        self.loss = ""  # what a person should know of samples that were lost
        self._files = SpoolFiles(folder, new_epoch=new_epoch, most_aside_bytes=limit_bytes // 2)
        try:
            self.db, self.epoch = self._files.open()
            self._begin()
        except BaseException:
            self._files.close()
            raise

    @property
    def next_window(self) -> int:
        """Number of the next window that may be opened."""
        return self._next_window

    @property
    def next_run(self) -> int:
        """First run number that this epoch has not used."""
        return self._next_run

    def capacity(self) -> int:
        """Return G."""
        return max(
            0,
            min(
                self._limit_bytes - self._aside_bytes,
                self.sampler.total_bytes + self._free_bytes(self.folder) - self._reserve_bytes,
            ),
        )

    def thresholds(self) -> dict[int, float]:
        """Return τ of every window in the pool."""
        with self.lock:
            return dict(self.sampler.thresholds())

    def commit(self, steps: Sequence[Step]) -> Committed:
        """Apply steps durably (rules 1, 2, 4 and 5).

        Raises:
            SpoolError: Nothing of it counts. After damage the spool has a new epoch, and windows must be opened anew.
        """
        writing = _Writing()
        with self.transaction(writing.blobs):
            writing.evicted += self.sampler.set_pool_bytes(self.capacity(), other_bytes=self.extras.bytes)
            for step in steps:
                self._apply(step, writing)
            self._write_blobs(writing)
            self._write_rows(writing)
        self.unlink_blobs([*writing.evicted, *writing.unlink])
        return Committed(
            kept=frozenset(writing.blobs), refused=frozenset(writing.refused), thresholds=self.thresholds()
        )

    def close(self) -> None:
        """Close the files; what is on disk stays."""
        with self.lock, suppress(sqlite3.Error):
            self.db.close()
        self._files.close()

    @contextmanager
    def transaction(self, new_blobs: Collection[str] = ()) -> Iterator[sqlite3.Connection]:
        """One transaction, alone with the database. If it fails the sampler goes back to what is on disk.

        Args:
            new_blobs: Blobs that are being written with it, removed if it fails.

        Raises:
            SpoolError: It did not commit.
        """
        with self.lock:
            if self._files.gone():
                self._begin_anew()
            try:
                self.db.execute("BEGIN IMMEDIATE")
                yield self.db
                self.db.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                self._undo(error, new_blobs)
                found = self._files.why(error)
                raise SpoolError(f"spool {self.folder} could not be written: {found}: {remedy(found)}") from error
            except BaseException as error:
                self._undo(error, new_blobs)
                raise
            self._stored_thresholds = dict(self.sampler.thresholds())

    def blob_path(self, sample_id: str) -> Path:
        """Return where a sealed sample lies."""
        return self._files.blobs / f"{sample_id}.age"

    def forget_old(self) -> None:
        """Trim the ledger."""
        self.db.execute(
            "DELETE FROM entries WHERE state != 'kept' AND sequence < (SELECT max(sequence) FROM entries) - ?",
            (_LEDGER_ROWS,),
        )
        self.db.execute(
            "DELETE FROM windows WHERE state = 'closed' AND window < (SELECT max(window) FROM windows) - 10000"
        )

    def _begin(self) -> None:
        """Take over what is on disk (rule 3)."""
        self._aside_bytes = self._files.set_aside_bytes()
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            self.db.execute("UPDATE windows SET state = 'sealed' WHERE state = 'open'")
            self.db.execute(
                "DELETE FROM windows WHERE state = 'sealed' AND json_extract(tally, '$.frames') = 0 "
                "AND window NOT IN (SELECT window FROM entries WHERE state = 'kept')"
            )
            on_disk = {p.name.removesuffix(".age") for p in self._files.blobs.iterdir()}
            wanted = {
                row[0] for row in self.db.execute("SELECT sample_id FROM entries WHERE state = 'kept' AND released = 0")
            }
            for sample_id in wanted - on_disk:
                self.mark_damaged(sample_id)
            self.db.execute("COMMIT")
            self.unlink_blobs(sorted(on_disk - wanted))
            self._load()

    def mark_damaged(self, sample_id: str) -> None:
        """Record that a kept blob is gone or altered: it can't be uploaded, and the record counts it as excluded."""
        row = self.db.execute("SELECT window, acknowledged FROM entries WHERE sample_id = ?", (sample_id,)).fetchone()
        if row[1]:  # the bucket has it: nothing is lost
            self.db.execute("UPDATE entries SET released = 1 WHERE sample_id = ?", (sample_id,))
            return
        self.db.execute("UPDATE entries SET state = 'damaged', shard = NULL WHERE sample_id = ?", (sample_id,))
        self.db.execute(
            "UPDATE windows SET tally = json_set(tally, '$.excluded', json_extract(tally, '$.excluded') + 1) WHERE "
            "window = ?",
            (row[0],),
        )
        self.db.execute("DELETE FROM shards WHERE window = ? AND acknowledged = 0", (row[0],))
        self.db.execute("UPDATE entries SET shard = NULL WHERE window = ? AND acknowledged = 0", (row[0],))

    def _load(self) -> None:
        """Read the sampler's state back from disk."""
        self.sampler = Sampler(pool_bytes=self._limit_bytes)
        self._tallies: dict[int, Tally] = {}
        for window, state, budget, tau, tally in self.db.execute(
            "SELECT window, state, byte_budget, tau, tally FROM windows WHERE state != 'closed' ORDER BY window"
        ).fetchall():
            rows = self.db.execute(
                "SELECT sample_id, weight / u, bytes FROM entries WHERE window = ? AND state = 'kept' AND released = 0 "
                "AND extra IS NULL",
                (window,),
            )
            held = [Held(key=r[0], priority=r[1], size=r[2]) for r in rows]
            self.sampler.restore(
                window, byte_budget=budget, threshold=tau, held=held, sealed=state != "open", settled=state == "settled"
            )
            if state == "open":
                self._tallies[window] = Tally.from_json(tally)
                lengths = self.db.execute("SELECT run, length FROM runs WHERE window = ?", (window,))
                self._tallies[window].runs.update(dict(lengths.fetchall()))
        self._stored_thresholds = dict(self.sampler.thresholds())
        self.extras = Extras(self.db)
        meta = dict(self.db.execute("SELECT key, value FROM meta"))
        self._next_window = int(meta.get("next_window", 1))
        self._next_run = int(meta.get("next_run", 0))

    def _apply(self, step: Step, writing: _Writing) -> None:
        if isinstance(step, Open):
            self.sampler.open_window(step.window, byte_budget=step.byte_budget)
            self._tallies[step.window] = Tally()
            at = step.opened_at.isoformat()
            self.db.execute(
                "INSERT INTO windows (window, state, opened_at, closed_at, byte_budget, tally) VALUES (?, 'open', ?, "
                "?, ?, ?)",
                (step.window, at, at, step.byte_budget, Tally().to_json()),
            )
            self._next_window = max(self._next_window, step.window + 1)
            self.db.execute("INSERT OR REPLACE INTO meta VALUES ('next_window', ?)", (str(self._next_window),))
        elif step.window not in self._tallies:
            return  # its window was lost with a damaged spool
        elif isinstance(step, Offer):
            outcome = self.sampler.offer(
                step.window, step.sample_id, weight=step.weight, u=step.u, size=len(step.sealed)
            )
            writing.evicted += outcome.evicted
            if outcome.kept:
                writing.blobs[step.sample_id] = (step, step.sealed)
        elif isinstance(step, Extra):
            self._apply_extra(step, writing)
        elif isinstance(step, Seen):
            self._tallies[step.window].add(step.tally)
            writing.touched.add(step.window)
            if step.tally.overload_priority > 0:
                self.sampler.overload(step.window, step.tally.overload_priority)
            self.db.execute("UPDATE windows SET closed_at = ? WHERE window = ?", (step.at.isoformat(), step.window))
        else:
            self._apply_seal(step, writing)

    def _apply_seal(self, step: Seal, writing: _Writing) -> None:
        self.sampler.seal(step.window)
        self._write_tally(step.window)
        self._tallies.pop(step.window)
        writing.touched.discard(step.window)
        self.db.execute(
            "UPDATE windows SET state = 'sealed', closed_at = ? WHERE window = ?",
            (step.closed_at.isoformat(), step.window),
        )

    def _apply_extra(self, step: Extra, writing: _Writing) -> None:
        """Take an extra if there is room for it (rule 4)."""
        pending = [other for other, _ in writing.blobs.values() if isinstance(other, Extra)]
        taken = self.extras.take(step, pending=pending, room=int(EXTRA_SHARE * self.sampler.pool_bytes))
        writing.unlink += taken.evicted
        if taken.refused:
            writing.refused.add(step.sample_id)
        elif step.sample_id not in writing.blobs and not taken.known:
            writing.blobs[step.sample_id] = (step, step.sealed)
            writing.evicted += self.sampler.set_pool_bytes(self.sampler.pool_bytes, other_bytes=self.extras.bytes)

    def _write_blobs(self, writing: _Writing) -> None:
        for sample_id in writing.evicted:
            writing.blobs.pop(sample_id, None)
        for sample_id, (step, sealed) in list(writing.blobs.items()):
            try:
                write_durably(self.blob_path(sample_id), sealed)
            except OSError:
                del writing.blobs[sample_id]
                self.unlink_blobs([sample_id])
                if isinstance(step, Offer):
                    self.sampler.drop(step.window, sample_id)
                    lost = Tally(overload=1)
                    self._count_late(step.window, lost, writing)
                else:
                    self.extras.bytes -= len(sealed)
                    writing.refused.add(sample_id)
        if writing.blobs:
            sync_folder(self._files.blobs)

    def _count_late(self, window: int, tally: Tally, writing: _Writing) -> None:
        if window in self._tallies:
            self._tallies[window].add(tally)
            writing.touched.add(window)
        else:  # sealed in this very commit
            self.db.execute(
                "UPDATE windows SET tally = json_set(tally, '$.overload', json_extract(tally, '$.overload') + ?) "
                "WHERE window = ?",
                (tally.overload, window),
            )

    def _write_rows(self, writing: _Writing) -> None:
        for sample_id, (step, sealed) in writing.blobs.items():
            extra = step.kind if isinstance(step, Extra) else None
            digest = hashlib.sha256(sealed).hexdigest()
            self.db.execute(
                "INSERT INTO entries (sample_id, window, state, bytes, sha256, weight, u, run, reasons, extra) "
                "VALUES (?, ?, 'kept', ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sample_id) DO UPDATE SET state = 'kept', "
                "window = excluded.window, bytes = excluded.bytes, sha256 = excluded.sha256, extra = excluded.extra",
                (sample_id, step.window, len(sealed), digest, step.weight, step.u, step.run, step.reasons, extra),
            )
        self._write_evictions(writing.evicted)
        self._write_thresholds()
        for window in writing.touched:
            self._write_tally(window)
        self.db.execute("INSERT OR REPLACE INTO meta VALUES ('next_run', ?)", (str(self._next_run),))

    def _write_evictions(self, evicted: Sequence[str]) -> None:
        """Store evictions; a shard that is made but not yet in the bucket and holds one of them is made anew."""
        for sample_id in evicted:
            row = self.db.execute(
                "SELECT window, shard, acknowledged FROM entries WHERE sample_id = ?", (sample_id,)
            ).fetchone()
            if row is None:
                continue
            window, shard, acknowledged = row
            if acknowledged:
                self.db.execute("UPDATE entries SET released = 1 WHERE sample_id = ?", (sample_id,))
                continue
            self.db.execute("UPDATE entries SET state = 'evicted', shard = NULL WHERE sample_id = ?", (sample_id,))
            if shard is not None:
                self.db.execute("UPDATE entries SET shard = NULL WHERE window = ? AND shard = ?", (window, shard))
                self.db.execute("DELETE FROM shards WHERE window = ? AND n = ?", (window, shard))

    def _write_thresholds(self) -> None:
        """Store every τ that rose."""
        for window, tau in self.sampler.thresholds().items():
            if self._stored_thresholds.get(window) != tau:
                self.db.execute("UPDATE windows SET tau = ? WHERE window = ?", (tau, window))

    def _write_tally(self, window: int) -> None:
        tally = self._tallies[window]
        self.db.execute("UPDATE windows SET tally = ? WHERE window = ?", (tally.to_json(), window))
        self.db.executemany(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?)",
            [(window, run, length) for run, length in tally.runs.items() if length > 1],
        )
        if tally.runs:
            newest = max(tally.runs)
            self._next_run = max(self._next_run, newest + 1)
            # a run of length 1 needs no row; only the newest runs can still grow
            tally.runs = type(tally.runs)({run: n for run, n in tally.runs.items() if run > newest - 128})

    def _undo(self, error: BaseException, new_blobs: Collection[str]) -> None:
        """Go back to what is on disk; if that is damaged, set it aside and begin a new epoch."""
        damage: BaseException = error
        with suppress(sqlite3.Error):
            self.db.execute("ROLLBACK")
        if not is_damage(error):
            self.unlink_blobs(list(new_blobs))
            try:
                self._load()
            except sqlite3.Error as second:
                damage = second
            else:
                return
        if not is_damage(damage):
            raise SpoolError(f"spool {self.folder} cannot be read back: {damage}") from damage
        with suppress(sqlite3.Error):
            self.db.close()
        self._files.set_aside()
        self.db, self.epoch = self._files.open()
        self._begin()

    def _begin_anew(self) -> None:
        """Go on with a new epoch after the folder was removed.

        Raises:
            SpoolError: Always: what was to be written belonged to the old one.
        """
        self._files.claim_again()
        with suppress(sqlite3.Error):
            self.db.close()
        self.db, self.epoch = self._files.open()
        self._begin()
        self.loss = (
            f"spool {self.folder} was removed while it was in use: what it held and was not yet uploaded is lost, a "
            "new one has begun; leave the folder alone while the client runs"
        )
        raise SpoolError(self.loss)

    def unlink_blobs(self, sample_ids: Collection[str]) -> None:
        """Remove blobs; one that the disk does not let go is removed at the next start."""
        for sample_id in sample_ids:
            with suppress(OSError):
                self.blob_path(sample_id).unlink(missing_ok=True)
