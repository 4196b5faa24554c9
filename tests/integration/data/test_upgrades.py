"""A catalog that any earlier version wrote, with a row in each of its tables, opens with every value as it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, create_engine, event, select

import data.catalog
from data.catalog import Base, Catalog
from tests.unit.data.captured_line import sqlite_url

#: What the schema itself demands of a value.
DEMANDED = {
    ("samples", "origin"): "field",
    ("label_events", "kind"): "label",
    ("rollouts", "state"): "running",
    ("label_events", "undoes"): None,  # names another event, of which there is none
}


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", str(Path(data.catalog.__file__).parent / "migrations"))
    return made


REVISIONS = sorted(script.revision for script in ScriptDirectory.from_config(config()).walk_revisions())


def value_of(table: Table, name: str, at: str) -> Any:
    """A value that tells its column, and fits it; a reference has that of what it refers to."""
    column = table.columns[name]
    if (table.name, name) in DEMANDED:
        return DEMANDED[table.name, name]
    for key in column.foreign_keys:
        return value_of(key.column.table, key.column.name, at)
    kind = str(column.type).upper()
    if "JSON" in kind:
        return {"told": [f"{table.name}.{name}", at]}
    if "DATETIME" in kind or "TIMESTAMP" in kind:
        from datetime import datetime

        return datetime(2030, 1, 1, 8, 0, 0, 123456)  # noqa: DTZ001 - as SQLite has it
    if "BOOL" in kind:
        return True
    if "INT" in kind:
        return 7
    if "FLOAT" in kind or "REAL" in kind:
        return 0.25
    if "BLOB" in kind:
        return b"\x00blob"
    return f"{table.name}.{name}"[: column.type.length or 100]


def rows_of(connection: Connection) -> Mapping[str, list[dict[str, Any]]]:
    metadata = MetaData()
    metadata.reflect(connection)
    return {
        table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
        for table in metadata.sorted_tables
        if table.name != "alembic_version"
    }


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_catalog_of_each_earlier_version_keeps_every_row(tmp_path: Path, revision: str) -> None:
    engine = create_engine(sqlite_url(tmp_path))
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
    steps = config()
    with engine.begin() as connection:
        steps.attributes["connection"] = connection
        command.upgrade(steps, revision)
        metadata = MetaData()
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            if table.name != "alembic_version":
                values = {column.name: value_of(table, column.name, revision) for column in table.columns}
                connection.execute(table.insert().values(values))
        before = rows_of(connection)
    engine.dispose()
    assert all(len(rows) == 1 for rows in before.values())

    catalog = Catalog.open(sqlite_url(tmp_path))
    with catalog.engine.connect() as connection:
        after = rows_of(connection)
    for table, rows in before.items():
        (row,) = rows
        (kept,) = after[table]
        assert {name: kept[name] for name in row} == row, table
    with catalog.reading() as session:  # and the program reads them
        for mapper in Base.registry.mappers:
            found = session.query(mapper.class_).all()
            assert len(found) == (1 if mapper.local_table.name in before else len(after[mapper.local_table.name]))
    catalog.close()
