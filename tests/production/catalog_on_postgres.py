"""A plugin for pytest: tests that open a catalog in a file get one in PostgreSQL, without knowing.

    python -m pytest -p tests.production.catalog_on_postgres tests/unit/data tests/unit/ingest

1. `Catalog.open("sqlite:///FILE")` opens a database of a server that the plugin starts, and leaves a note in FILE which
   one. A copy of FILE is a copy of the database, so that fixtures that copy a first catalog go on doing so.
2. A FILE that is really SQLite's is opened as such, and all are in a test that is marked ``sqlite_file``: tests of
   files stay tests of files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy.engine import make_url

from data.catalog import Catalog
from tests.integration.data.postgres import Postgres

_NOTE = "a catalog in PostgreSQL"


class _Server:
    def __init__(self) -> None:
        self.server = Postgres()
        self.server.start()
        self.opened = 0
        self.migrated: str | None = None

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={quote(str(self.server.folder), safe='')}"

    def database_of(self, file: Path) -> str | None:
        """Rule 1; None for a file that is SQLite's."""
        if not file.exists():
            name = self._new(self._first())
        else:
            note = _read(file)
            if note is None:
                return None
            if note["file"] == str(file):
                return str(note["database"])
            name = self._new(note["database"])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"what": _NOTE, "file": str(file), "database": name}))
        self.opened += 1
        return name

    def _first(self) -> str:
        if self.migrated is None:
            url = self.server.new_database()
            _open(url).close()
            self.migrated = make_url(url).database
            assert self.migrated is not None
        return self.migrated

    def _new(self, template: str) -> str:
        self.server.databases += 1
        name = f"andon{self.server.databases}"
        self.server.ask(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return name


def _read(file: Path) -> dict[str, Any] | None:
    if file.read_bytes()[:1] != b"{":
        return None
    note: dict[str, Any] = json.loads(file.read_text())
    return note if note.get("what") == _NOTE else None


_open = Catalog.open
_servers: list[_Server] = []


def _opened(url: str) -> Catalog:
    try:
        parsed = make_url(url)
    except Exception:
        return _open(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return _open(url)
    if not _servers:
        _servers.append(_Server())
    server = _servers[0]
    name = server.database_of(Path(parsed.database))
    return _open(url if name is None else server.url(name))


def pytest_configure(config: pytest.Config) -> None:
    Catalog.open = staticmethod(_opened)  # type: ignore[method-assign, assignment]


def pytest_runtest_setup(item: pytest.Item) -> None:
    of_files = item.get_closest_marker("sqlite_file") is not None
    Catalog.open = _open if of_files else staticmethod(_opened)  # type: ignore[method-assign, assignment]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    opened = _servers[0].opened if _servers else 0
    terminalreporter.write_line(f"{opened} catalogs were made in PostgreSQL")


def pytest_unconfigure(config: pytest.Config) -> None:
    Catalog.open = _open  # type: ignore[method-assign]
    while _servers:
        _servers.pop().server.stop()
