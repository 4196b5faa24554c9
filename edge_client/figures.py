"""Figures and the ledger of a spool, read from its database; also from another process, while the client runs."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge_client.spool_database import SpoolError


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolFigures:
    """How full a spool is.

    Attributes:
        bytes: Charged to the limit.
        limit_bytes: G at this moment; 0 when read from outside.
        waiting_windows: Windows that are sealed but whose record is not up.
        kept, evicted, uploaded, damaged: Samples by state, as far as the ledger remembers.
        oldest_window_opened_at: ISO 8601, or "".
    """

    epoch: int
    bytes: int
    limit_bytes: int
    waiting_windows: int
    kept: int
    evicted: int
    uploaded: int
    damaged: int
    frames_open: int
    oldest_window_opened_at: str
    set_aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One sample that was ever acknowledged, and what became of it (kept, evicted, uploaded, damaged)."""

    sample_id: str
    epoch: int
    window: int
    sequence: int
    state: str
    extra: str | None
    bytes: int
    sha256: str


def spool_figures(db: sqlite3.Connection, *, limit_bytes: int = 0, set_aside: bool = False) -> SpoolFigures:
    """Read the figures."""
    epoch = int(db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
    states = dict(db.execute("SELECT state, count(*) FROM entries GROUP BY state").fetchall())
    held = db.execute("SELECT coalesce(sum(bytes), 0) FROM entries WHERE state = 'kept' AND released = 0").fetchone()[0]
    waiting = db.execute("SELECT count(*) FROM windows WHERE state IN ('sealed', 'settled')").fetchone()[0]
    oldest = db.execute("SELECT min(opened_at) FROM windows WHERE state != 'closed'").fetchone()[0]
    frames = db.execute(
        "SELECT coalesce(sum(json_extract(tally, '$.frames')), 0) FROM windows WHERE state = 'open'"
    ).fetchone()[0]
    return SpoolFigures(
        epoch=epoch,
        bytes=int(held),
        limit_bytes=limit_bytes,
        waiting_windows=int(waiting),
        kept=states.get("kept", 0),
        evicted=states.get("evicted", 0),
        uploaded=states.get("uploaded", 0),
        damaged=states.get("damaged", 0),
        frames_open=int(frames),
        oldest_window_opened_at=oldest or "",
        set_aside=set_aside,
    )


def read_figures(folder: Path) -> SpoolFigures | None:
    """Read a spool's figures from outside; None when there is no spool yet.

    Raises:
        SpoolError: The database cannot be read.
    """
    if not (folder / "spool.db").exists():
        return None
    with closing(_connect(folder)) as db:
        try:
            return spool_figures(db, set_aside=(folder / "set-aside").is_dir())
        except sqlite3.Error as error:
            raise SpoolError(f"spool {folder} cannot be read: {error}") from error


def read_ledger(folder: Path) -> Iterator[LedgerEntry]:
    """Yield every remembered sample, oldest first; nothing when there is no spool yet.

    Raises:
        SpoolError: The database cannot be read.
    """
    if not (folder / "spool.db").exists():
        return
    with closing(_connect(folder)) as db:
        try:
            epoch = int(db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
            for row in db.execute(
                "SELECT sample_id, window, sequence, state, extra, bytes, sha256 FROM entries ORDER BY sequence"
            ):
                yield LedgerEntry(
                    sample_id=row[0],
                    epoch=epoch,
                    window=row[1],
                    sequence=row[2],
                    state=row[3],
                    extra=row[4],
                    bytes=row[5],
                    sha256=row[6],
                )
        except sqlite3.Error as error:
            raise SpoolError(f"spool {folder} cannot be read: {error}") from error


def _connect(folder: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(f"{(folder / 'spool.db').resolve().as_uri()}?mode=ro", uri=True, timeout=10)
    except sqlite3.Error as error:
        raise SpoolError(f"spool {folder} cannot be opened: {error}") from error
