"""What a copied catalog names in the bucket: it must be in the backup, or the backup does not count."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator
from contextlib import closing
from pathlib import Path

#: Column of each table that names an object of the bucket.
_NAMED = (("samples", "lake_path"), ("snapshots", "path"))


def named_objects(catalog: Path) -> Iterator[str]:
    """Keys that the copy of a SQLite catalog names."""
    with closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, column in _NAMED:
            if table in tables:
                for (key,) in connection.execute(f"SELECT DISTINCT {column} FROM {table}"):  # noqa: S608 - ours
                    if key:  # an erased sample has no file
                        yield str(key)


def dangling(catalog: Path, taken: Container[str]) -> list[str]:
    """Keys that the catalog names and the backup lacks."""
    return [key for key in named_objects(catalog) if key not in taken]


def counts(catalog: Path) -> dict[str, int]:
    """Rows by table, to compare after a restore."""
    with closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])  # noqa: S608 - its own names
            for name in sorted(names)
            if not name.startswith("sqlite_")
        }
