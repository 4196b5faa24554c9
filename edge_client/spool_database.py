"""The spool's files: SQLite in WAL mode at ``synchronous=FULL``, blob files beside it, and what happens when they are
damaged.

1. One process owns a spool: an exclusive lock on ``lock``, held until the process ends, however it ends.
2. A database that SQLite calls damaged, that is empty beside blobs or that holds what no client wrote is set aside
   whole, with its blobs, and a new epoch begins. The last such folder is kept and charged to the spool's limit; blobs
   that would take more than half of that are not.
3. A spool that somebody removes while it is in use is lost, and a new one begins in its place: SQLite would go on
   writing into files that no longer have a name.
4. An epoch's number is drawn at random: sequences and window numbers of two epochs can't be mistaken for one another,
   not even when the whole state folder was lost. The clock plays no part.
"""

import errno
import fcntl
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from edge_client.contract.errors import AndonError
from edge_client.spool_check import what_no_client_wrote

SCHEMA_VERSION = 1
_CORRUPT = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE windows (
    window INTEGER PRIMARY KEY,
    state TEXT NOT NULL,            -- open, sealed, settled (record made), closed (record up)
    opened_at TEXT NOT NULL,
    closed_at TEXT NOT NULL,        -- while open: the last commit
    byte_budget INTEGER NOT NULL,
    tau REAL NOT NULL DEFAULT 0,
    tally TEXT NOT NULL,
    record BLOB
);
CREATE TABLE entries (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    sample_id TEXT NOT NULL UNIQUE,
    window INTEGER NOT NULL,
    state TEXT NOT NULL,            -- kept, evicted, uploaded, damaged
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    weight REAL NOT NULL,
    u REAL NOT NULL,
    run INTEGER NOT NULL,
    reasons TEXT NOT NULL,
    extra TEXT,
    shard INTEGER,
    acknowledged INTEGER NOT NULL DEFAULT 0,  -- its shard is in the bucket
    released INTEGER NOT NULL DEFAULT 0       -- evicted after that: its local bytes are gone, the manifest has it
);
CREATE INDEX entries_by_window ON entries (window, state);
CREATE TABLE runs (window INTEGER, run INTEGER, length INTEGER NOT NULL, PRIMARY KEY (window, run)) WITHOUT ROWID;
CREATE TABLE shards (
    window INTEGER, n INTEGER, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, acknowledged INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (window, n)
) WITHOUT ROWID;
"""


class SpoolError(AndonError):
    """The spool cannot be opened or written; inspection goes on without capture."""


def is_damage(error: BaseException) -> bool:
    """Tell whether SQLite calls the file damaged, as against full, locked or out of reach."""
    return isinstance(error, sqlite3.Error) and (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _CORRUPT


def remedy(error: BaseException) -> str:
    """Say what a person can do about a spool that cannot be written."""
    code = getattr(error, "errno", None) or -(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if code in (errno.ENOSPC, errno.EDQUOT, -sqlite3.SQLITE_FULL):
        return "free space on its disk, or give the state folder another; capture goes on by itself then"
    if code in (errno.EROFS, errno.EACCES, errno.EPERM, -sqlite3.SQLITE_READONLY):
        return "make its disk and folder writable again; capture goes on by itself then"
    return "check the disk's health"


def random_epoch() -> int:
    """Draw an epoch's number: at most nine digits."""
    return 100_000 + secrets.randbelow(999_900_000)


class SpoolFiles:
    """The folder of a spool.

    Args:
        folder: Made if it is not there.
        new_epoch: Draws an epoch's number.
        most_aside_bytes: Most bytes of a damaged spool that are kept.

    Raises:
        SpoolError: Another process uses the folder, or it cannot be written.
    """

    def __init__(
        self, folder: Path, *, new_epoch: Callable[[], int] = random_epoch, most_aside_bytes: int = 1 << 62
    ) -> None:
        self.folder = folder
        self.blobs = folder / "blobs"
        self.database = folder / "spool.db"
        self._new_epoch = new_epoch
        self._most_aside_bytes = most_aside_bytes
        self._lock = self._claim()
        self._opened: tuple[int, int] | None = None

    def _claim(self) -> int:
        """Make the folders and take the lock."""
        folder = self.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.blobs.mkdir(exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(
                f"spool {folder} cannot be written ({error}): check the disk and who owns the folder"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise SpoolError(
                f"spool {folder} is in use by another process: stop it, or give this one its own state folder"
            ) from None
        return lock

    def gone(self) -> bool:
        """Tell whether the database that was opened is no longer the one in the folder, or the blobs' folder is not
        there (rule 3).
        """
        try:
            self.blobs.stat()
            found = self.database.stat()
        except FileNotFoundError:
            return True
        except OSError:
            return False  # out of reach is not gone
        return self._opened is not None and self._opened != (found.st_dev, found.st_ino)

    def claim_again(self) -> None:
        """Make the folder anew and lock it, after it was removed.

        Raises:
            SpoolError: It cannot be made, or another process was quicker.
        """
        try:
            lock = (self.folder / "lock").stat()
            self.blobs.mkdir(exist_ok=True)
        except FileNotFoundError:
            lock = None
        except OSError as error:
            raise SpoolError(f"spool {self.folder} cannot be made anew: {error}: {remedy(error)}") from error
        if lock is None or not os.path.samestat(lock, os.fstat(self._lock)):
            before, self._lock = self._lock, self._claim()
            os.close(before)

    def open(self) -> tuple[sqlite3.Connection, int]:
        """Open the database, or set a damaged one aside and make a new one.

        Returns:
            The connection and the epoch.
        """
        try:
            try:
                found = self._open()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self.set_aside()
                found = self._open()
            status = self.database.stat()
            self._opened = (status.st_dev, status.st_ino)
            return found
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(
                f"spool {self.folder} cannot be opened ({error}): check the disk's space and health"
            ) from error

    def set_aside(self) -> Path:
        """Move the database and the blobs away; an older set-aside is removed, and so are too many blobs."""
        aside = self.folder / "set-aside"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        for path in (self.database, Path(f"{self.database}-wal"), Path(f"{self.database}-shm"), self.blobs):
            if path.exists():
                os.replace(path, aside / path.name)
        if self.set_aside_bytes() > self._most_aside_bytes:
            shutil.rmtree(aside / self.blobs.name, ignore_errors=True)
        self.blobs.mkdir()
        sync_folder(self.folder)
        return aside

    def set_aside_bytes(self) -> int:
        """Return the bytes that a set-aside spool takes."""
        aside = self.folder / "set-aside"
        return sum(p.stat().st_size for p in aside.rglob("*") if p.is_file()) if aside.is_dir() else 0

    def why(self, error: BaseException) -> BaseException:
        """Return what a plain write beside the database fails with: SQLite calls most of it "disk I/O error"."""
        probe = self.folder / ".probe"
        try:
            write_durably(probe, b"probe")
            probe.unlink()
        except OSError as found:
            return found
        return error

    def close(self) -> None:
        """Let the lock go."""
        os.close(self._lock)

    def _open(self) -> tuple[sqlite3.Connection, int]:
        connection = sqlite3.connect(self.database, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA cache_size=-2000")
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found is None or found[0] != "ok":
                raise _damaged(f"quick_check says {found}")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and any(self.blobs.iterdir()):
                raise _damaged("it is empty, and blobs lie beside it")
            if version == 0:
                epoch = int(self._new_epoch())
                connection.executescript(
                    f"BEGIN IMMEDIATE; {_SCHEMA} INSERT INTO meta VALUES ('epoch', '{epoch}');"  # noqa: S608 -- a number
                    f"PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
                )
                sync_folder(self.folder)
            elif version != SCHEMA_VERSION:
                raise SpoolError(
                    f"spool {self.folder} has the layout {version}, this client knows {SCHEMA_VERSION}: "
                    "upload it with the version that wrote it (andon-edge export), then move the folder away"
                )
            row = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
            if row is None:
                raise _damaged("it has no epoch")
            if nonsense := what_no_client_wrote(connection):
                raise _damaged(nonsense)
            return connection, int(row[0])
        except BaseException:
            connection.close()
            raise


def _damaged(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = _CORRUPT[0]
    return error


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and fsync it; the folder must be synced after."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
