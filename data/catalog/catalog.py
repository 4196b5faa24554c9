"""Opening the catalog.

1. ``Catalog.open`` brings the schema to the newest revision, under a lock, once; two processes that
   start together don't migrate twice.
2. A database written by a newer Andon is refused, never touched.
3. ``session()`` is for reading and writing: it commits when its block ends and rolls back on an error.
   One at a time: on SQLite it takes the write lock at once, so it waits its turn instead of failing half-way; on
   PostgreSQL a lock of the transaction's own, since what reads a row and then changes it would lose others' changes.
4. ``reading()`` sees one consistent state and never waits for a writer (SQLite: WAL).
5. ``lean()`` is for who goes through much once: a cache that fills would be memory that grows and serves nobody.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from edge_client.contract.errors import AndonError

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_SECONDS = 30  # an ingest commit of one large window takes well under a second
_ASK_AGAIN_SECONDS = 0.02  # another process needs a few of these to make a new file
_CACHE_KIB = 32 << 10  # of a connection; SQLite's own 2 MB are read anew for each question to a large catalog
_LEAN_CACHE_KIB = 2 << 10
_ADVISORY_LOCK = 0x416E646F6E  # "Andon"; any constant that nobody else uses
_WRITER_LOCK = _ADVISORY_LOCK + 1


class CatalogError(AndonError):
    """The catalog cannot be opened; the message says what to do."""


class Catalog:
    """The catalog's database. Safe to share between threads; make one per process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> Catalog:
        """Open the catalog at an SQLAlchemy ``url`` and bring its schema up to date.

        Args:
            url: ``sqlite:////abs/path/catalog.db``, ``sqlite://`` (in memory) or ``postgresql://…``.

        Raises:
            CatalogError: if the URL is not one, the database cannot be reached, or it is newer than this
                version of Andon.
        """
        engine = _engine(url)
        catalog = cls(engine)
        try:
            catalog._migrate()
        except DBAPIError as error:
            engine.dispose()
            raise CatalogError(
                f"catalog {engine.url.render_as_string(hide_password=True)}: cannot be opened ({error.orig}); "
                "check that the path or server exists and is writable"
            ) from error
        except BaseException:
            engine.dispose()
            raise
        return catalog

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for tests and tools."""
        return self._engine

    @property
    def url(self) -> str:
        """The URL, its password hidden."""
        return self._engine.url.render_as_string(hide_password=True)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction to read and write: committed at the end, rolled back on an error; one at a time."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            if self._engine.dialect.name != "sqlite":  # SQLite has one writer; what reads, then writes relies on it
                session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_LOCK})
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction to read one consistent state; what it writes is thrown away."""
        engine = self._engine.execution_options(andon_read_only=True, **self._snapshot_options())
        with Session(engine, expire_on_commit=False) as session:
            yield session
            session.expunge_all()  # rows stay readable after the block
            session.rollback()

    @contextmanager
    def lean(self) -> Iterator[Catalog]:
        """The same catalog, whose connections remember little of it (SQLite in a file; else it is this one)."""
        if self._engine.dialect.name != "sqlite" or isinstance(self._engine.pool, StaticPool):
            yield self
            return
        catalog = Catalog(_engine(self._engine.url.render_as_string(hide_password=False), cache_kib=_LEAN_CACHE_KIB))
        try:
            yield catalog
        finally:
            catalog.close()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _snapshot_options(self) -> dict[str, Any]:
        return {} if self._engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}

    def _migrate(self) -> None:
        script = ScriptDirectory.from_config(_alembic_config())
        head = script.get_current_head()
        if self._revision() == head:
            return
        with self._migration_lock(), self._engine.begin() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            if current == head:
                return
            if current is not None and not _known(script, current):
                raise CatalogError(
                    f"catalog {self.url}: its schema revision {current} is not known to this version of "
                    "Andon; it was written by a newer one: upgrade Andon, or open the catalog's backup"
                )
            config = _alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _revision(self) -> str | None:
        engine = self._engine.execution_options(andon_read_only=True)
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    @contextmanager
    def _migration_lock(self) -> Iterator[None]:
        """One migration at a time, over all processes."""
        if self._engine.dialect.name == "postgresql":
            with self._engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
                try:
                    yield
                finally:
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})
            return
        yield  # the migration's own transaction takes SQLite's write lock at its beginning


def _engine(url: str, *, cache_kib: int = _CACHE_KIB) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise CatalogError(
            f"catalog: {url!r} is not a database URL; expected sqlite:////path/catalog.db or postgresql://…"
        ) from error
    if parsed.get_backend_name() == "postgresql":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.get_backend_name() != "sqlite":
        raise CatalogError(f"catalog: {parsed.get_backend_name()!r} is not supported; expected sqlite or postgresql")
    options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_SECONDS, "check_same_thread": False}}
    if not parsed.database or parsed.database == ":memory:":
        options["poolclass"] = StaticPool  # a second connection would see another, empty database
    else:
        try:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogError(f"catalog {parsed.database}: its folder cannot be made ({error})") from error
    engine = create_engine(parsed, **options)
    event.listen(engine, "connect", partial(_on_sqlite_connect, cache_kib=cache_kib))
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _on_sqlite_connect(connection: Any, _record: Any, *, cache_kib: int) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late; ours is below
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous = FULL")  # ingest deletes from the inbox after this commit
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA cache_size = -{cache_kib}")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Let readers not wait for writers; kept in the file, so only the first connection ever has to change it.

    SQLite does not wait for this change as ``busy_timeout`` has it, but refuses it at once while others open the same
    new file: whoever comes second asks again.
    """
    last = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > last:
                raise
            time.sleep(_ASK_AGAIN_SECONDS)
        else:
            return


def _on_sqlite_begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("andon_read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _known(script: ScriptDirectory, revision: str) -> bool:
    return any(known.revision == revision for known in script.walk_revisions())
