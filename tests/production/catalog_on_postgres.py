"""A plugin for pytest: tests that open a catalog in a file get one in PostgreSQL, without knowing.

    python -m pytest -p tests.production.catalog_on_postgres tests/unit/data tests/unit/ingest

1. `Catalog.open("sqlite:///FILE")` opens a database of a server that the plugin starts, and leaves a note in FILE which
   one. A copy of FILE is a copy of the database, so that fixtures that copy a first catalog go on doing so.
2. A home directory's `catalog.db` is stated in its `services.toml` too, for the processes that tests start on it.
3. A FILE that is really SQLite's is opened as such, and all are in a test that is marked ``sqlite_file``: tests of
   files stay tests of files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy.engine import make_url

from data.catalog import Catalog
from data.workspace import Workspace, home_directory
from tests.integration.data.postgres import Postgres

_NOTE = "a catalog in PostgreSQL"
_STATED = f"# {_NOTE}\n"


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
        services = file.with_name("services.toml")
        ours = not services.exists() or services.read_text().startswith(_STATED)
        if file.name == "catalog.db" and ours:  # rule 2
            services.write_text(f'{_STATED}[database]\nurl = "{self.url(name)}"\n')
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


_open, _open_workspace = Catalog.open, Workspace.open
_servers: list[_Server] = []


def _server() -> _Server:
    if not _servers:
        _servers.append(_Server())
    return _servers[0]


def _opened(url: str) -> Catalog:
    try:
        parsed = make_url(url)
    except Exception:
        return _open(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return _open(url)
    name = _server().database_of(Path(parsed.database))
    return _open(url if name is None else _server().url(name))


def _opened_workspace(home: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Workspace:
    """A copy of a home directory gets a copy of its database before anybody reads what it states."""
    file = home_directory(home, environ) / "catalog.db"
    if file.exists():
        _server().database_of(file)
    return _open_workspace(home, environ=environ)


def _take_over(taken: bool) -> None:
    Catalog.open = staticmethod(_opened) if taken else _open  # type: ignore[method-assign, assignment]
    Workspace.open = staticmethod(_opened_workspace) if taken else _open_workspace  # type: ignore[method-assign]


def pytest_configure(config: pytest.Config) -> None:
    _take_over(True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    _take_over(item.get_closest_marker("sqlite_file") is None)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    opened = _servers[0].opened if _servers else 0
    terminalreporter.write_line(f"{opened} catalogs were made in PostgreSQL")


def pytest_unconfigure(config: pytest.Config) -> None:
    _take_over(False)
    while _servers:
        _servers.pop().server.stop()
