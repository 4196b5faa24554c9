"""The databases on a PostgreSQL server: made if need be, and their schemas brought up to date.

1. Three databases: the catalog's, MLflow's and Prefect's. Each brings its own migrations, and two of them would fight
   over one table of revisions.
2. A database that is missing is made, where the account may; else the statement for an administrator is told.
3. One migration at a time over all machines: an advisory lock of the server. Running it twice is harmless.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from data.services import Database
from infra.stack.layout import StackError
from infra.stack.servers import PYTHON, QUIET, mlflow_database, prefect_database

CONNECT_SECONDS = 10
OLDEST = 120_000  # what MLflow and Prefect still take
_LOCK = 0x416E646F6E_4D  # "AndonM"; any constant that nobody else uses
_MIGRATION_SECONDS = 1800.0  # a new index over many rows
Report = Callable[[str], None]


def make_databases(database: Database, report: Report = lambda _: None) -> list[str]:
    """Make those of the three that are missing (rule 2); return their names.

    Raises:
        StackError: The server does not answer, is too old, or refuses; the message says what to do.
    """
    made = []
    for name in (database.name, database.mlflow, database.prefect):
        if not _exists(database, name):
            _make(database, name)
            report(f"database {name} made")
            made.append(name)
    return made


def upgrade_databases(database: Database, report: Report = lambda _: None) -> None:
    """Bring the schemas of MLflow and Prefect up to date (rule 3). The catalog's is its own, when it is opened.

    Raises:
        StackError: A migration failed; the message has the end of what it said.
    """
    with _one_at_a_time(database):
        _upgrade_mlflow(mlflow_database(database))
        report(f"MLflow's schema in {database.mlflow} is up to date")
        _run(
            "Prefect's migration",
            (*PYTHON, "prefect", "server", "database", "upgrade", "-y"),
            prefect_database(database),
        )
        report(f"Prefect's schema in {database.prefect} is up to date")


def _upgrade_mlflow(url: str) -> None:
    # MLflow has a command for a schema that is there and none for an empty database; in a process of its own, since
    # importing its stores costs seconds and memory that whoever calls this may not want.
    code = (
        "import os; from mlflow.store.db import utils as u; "
        "engine = u.create_sqlalchemy_engine_with_retry(os.environ['MLFLOW_BACKEND_STORE_URI']); "
        "u._safe_initialize_tables(engine); u._upgrade_db(engine)"
    )
    _run("MLflow's migration", (PYTHON[0], "-P", "-c", code), {"MLFLOW_BACKEND_STORE_URI": url})


def _run(what: str, command: tuple[str, ...], environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **QUIET, **environment},
            capture_output=True,
            text=True,
            timeout=_MIGRATION_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{what} did not end within {_MIGRATION_SECONDS:.0f} s: is another one at it?") from error
    if done.returncode:
        raise StackError(f"{what} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def connect(url: str, **options: Any) -> Any:
    """A connection of psycopg outside any pool.

    Raises:
        StackError: The server does not answer or refuses.
    """
    import psycopg

    try:
        connection = psycopg.connect(url, connect_timeout=CONNECT_SECONDS, autocommit=True, **options)
    except psycopg.Error as error:
        raise StackError(f"PostgreSQL: {' '.join(str(error).split())}") from error
    return connection


def _exists(database: Database, name: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(database.url_of(name), connect_timeout=CONNECT_SECONDS) as connection:
            version = connection.info.server_version
            encoding = connection.info.parameter_status("server_encoding")
    except psycopg.errors.InvalidCatalogName:
        return False
    except psycopg.OperationalError as error:
        text = " ".join(str(error).split())
        if f'database "{name}" does not exist' in text:  # told while connecting: psycopg has no class for it then
            return False
        raise StackError(
            f"PostgreSQL: database {name} cannot be opened ({text}); check url and password of [database]"
        ) from error
    if version < OLDEST:
        raise StackError(f"PostgreSQL {version // 10_000} is too old: at least {OLDEST // 10_000} is needed")
    if encoding != "UTF8":
        raise StackError(f"PostgreSQL: database {name} has encoding {encoding}, expected UTF8: make it anew")
    return True


def _make(database: Database, name: str) -> None:
    import psycopg
    from psycopg import sql

    statement = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name))
    told = f"CREATE DATABASE \"{name}\" ENCODING 'UTF8' TEMPLATE template0 OWNER …"
    with connect(database.url_of("postgres")) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.DuplicateDatabase:
            return  # another process was quicker
        except psycopg.Error as error:
            raise StackError(
                f"PostgreSQL: database {name} is missing and this account may not make it "
                f"({' '.join(str(error).split())}): have an administrator run `{told}`"
            ) from error


@contextmanager
def _one_at_a_time(database: Database) -> Iterator[None]:
    with connect(database.url) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        yield  # the lock ends with the connection
