"""Copies of the databases, of one moment, while they are used.

1. SQLite: every database is opened for reading before the first is copied, and copied inside that transaction: writers
   go on (catalog), or wait some milliseconds for their turn (MLflow's, which is small).
2. PostgreSQL: `pg_dump` in its own format; it sees one moment of one database. The catalog goes first: what it says of
   a model is written after MLflow knows it, so a copy never speaks of a version that MLflow's copy lacks.
3. Passwords reach `pg_dump` and `pg_restore` through the environment, never the command line.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from data.workspace import CATALOG_VARIABLE, default_catalog_url
from infra.backup.store import BackupError
from infra.stack.layout import Home
from infra.stack.state import load_state

MLFLOW_VARIABLE = "ANDON_MLFLOW_DATABASE_URL"
_BUSY_SECONDS = 30.0
_DUMP_SECONDS = 4 * 3600.0
_SUFFIX = {"sqlite": "sqlite", "postgresql": "pgdump"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database of the installation."""

    name: str
    url: URL

    @property
    def kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.url.get_backend_name()

    @property
    def file_name(self) -> str:
        """What its copy is called."""
        return f"{self.name}.{_SUFFIX[self.kind]}"


def databases_of(home: Home, environ: Mapping[str, str] = os.environ) -> tuple[Database, ...]:
    """The catalog and MLflow's database of a home directory, in the order in which they are copied."""
    state = load_state(home)
    extra = state.extra if state is not None else {}
    catalog = environ.get(CATALOG_VARIABLE) or extra.get("catalog_url") or default_catalog_url(home.path)
    mlflow = (
        environ.get(MLFLOW_VARIABLE) or extra.get("mlflow_database_url") or f"sqlite:///{home.mlflow / 'mlflow.db'}"
    )
    found = (Database(name="catalog", url=make_url(catalog)), Database(name="mlflow", url=make_url(mlflow)))
    for database in found:
        if database.kind not in _SUFFIX:
            raise BackupError(
                f"{database.name}: a {database.kind} database cannot be copied; expected sqlite or postgresql"
            )
    return found


@contextmanager
def copies(databases: tuple[Database, ...], folder: Path) -> Iterator[dict[str, Path]]:
    """Copy databases into `folder`, and remove the copies at the end: file name -> copy.

    Raises:
        BackupError: One cannot be copied.
    """
    made: dict[str, Path] = {}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        with ExitStack() as opened:
            readers = {}
            for database in databases:
                if database.kind == "sqlite":
                    connection = _open_for_reading(database)
                    if connection is not None:
                        readers[database.name] = opened.enter_context(closing(connection))
            for database in databases:
                target = folder / database.file_name
                if database.name in readers:
                    _copy_sqlite(readers[database.name], target)
                elif database.kind == "postgresql":
                    _dump(database, target)
                else:
                    continue  # not made yet
                made[database.file_name] = target
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_back(database: Database, copy: Path) -> None:
    """Make a database of its copy. A SQLite file is replaced; a PostgreSQL database must be empty.

    Raises:
        BackupError: It is not empty, or the copy cannot be read.
    """
    if database.kind == "sqlite":
        target = Path(str(database.url.database))
        target.parent.mkdir(parents=True, exist_ok=True)
        for beside in (target.with_name(f"{target.name}-wal"), target.with_name(f"{target.name}-shm")):
            beside.unlink(missing_ok=True)
        copy.replace(target)
        return
    _run(
        database,
        # --clean: a restore that was killed in the middle is simply done again
        ["pg_restore", "--clean", "--if-exists", "--no-owner", "--no-acl", "--exit-on-error", "--single-transaction",
         *_where(database), str(copy)],
    )  # fmt: skip


def _open_for_reading(database: Database) -> sqlite3.Connection | None:
    path = Path(str(database.url.database))
    if not path.exists():
        return None
    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # now it has its moment
    except sqlite3.Error as error:
        connection.close()
        raise BackupError(f"{path} cannot be read ({error}): is it a SQLite database? See `andon doctor`") from error
    return connection


def _copy_sqlite(source: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file: nothing beside it holds a part
        found = copy.execute("PRAGMA quick_check").fetchone()[0]
        if found != "ok":
            raise BackupError(f"{target.name}: its copy is damaged ({found}), so the database is: see `andon doctor`")
    target.chmod(0o600)


def _dump(database: Database, target: Path) -> None:
    _run(database, ["pg_dump", "--format=custom", "--compress=0", f"--file={target}", *_where(database)])
    target.chmod(0o600)


def _where(database: Database) -> list[str]:
    shown = database.url.set(drivername="postgresql", password=None)
    return [f"--dbname={shown.render_as_string(hide_password=False)}"]


def _run(database: Database, command: list[str]) -> None:
    environment = {**os.environ}
    if database.url.password:
        environment["PGPASSWORD"] = str(database.url.password)
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_DUMP_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise BackupError(
            f"{command[0]} is not installed: it comes with PostgreSQL's client (postgresql-client), of the server's "
            "version or newer"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BackupError(f"{database.name}: {command[0]} did not end within {_DUMP_SECONDS:.0f} s") from error
    if done.returncode != 0:
        raise BackupError(f"{database.name}: {command[0]} failed: {done.stderr.strip()[-1000:]}")
