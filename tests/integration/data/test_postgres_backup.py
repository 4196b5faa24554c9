"""A catalog on a real PostgreSQL is dumped while it is used, and put into another database."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from data.catalog import Catalog
from data.catalog.models import DeviceRow, InspectionRow
from data.workspace import CATALOG_VARIABLE
from infra.backup.databases import copies, databases_of, put_back
from infra.backup.store import BackupError
from infra.stack.layout import Home
from tests.integration.data.postgres import Postgres
from tests.unit.data.captured_line import INSPECTION, T0, new_catalog


def names_in(url: str) -> tuple[list[str], list[str]]:
    catalog = Catalog.open(url)
    with catalog.reading() as session:
        found = list(session.scalars(select(InspectionRow.name))), sorted(session.scalars(select(DeviceRow.name)))
    catalog.close()
    return found


def test_a_dump_is_of_one_moment_and_is_put_into_another_database(postgres: Postgres, tmp_path: Path) -> None:
    url, other = postgres.new_database(), postgres.new_database()
    catalog = new_catalog(url)
    home = Home(tmp_path / "home")
    home.create()
    (database, _) = databases = databases_of(home, {CATALOG_VARIABLE: url})
    assert database.file_name == "catalog.pgdump"
    with catalog.session() as writer:  # a writer that has not finished does not hold the dump up, and is not in it
        writer.add(InspectionRow(name="later", classes=[], settings={}, created_at=T0))
        writer.flush()
        with copies(databases, tmp_path / "work") as made:
            assert list(made) == ["catalog.pgdump"]  # there is no MLflow here
            (target, _) = databases_of(home, {CATALOG_VARIABLE: other})
            for _ in range(2):  # a restore that was killed in the middle is done again
                put_back(target, made["catalog.pgdump"])
    catalog.close()
    assert names_in(other) == ([INSPECTION], ["line-1", "line-2"])


def test_a_server_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    url = make_url("postgresql://ana:geheim@127.0.0.1:1/catalog")
    databases = databases_of(home, {CATALOG_VARIABLE: url.render_as_string(hide_password=False)})
    with pytest.raises(BackupError, match="catalog: pg_dump failed") as told, copies(databases, tmp_path / "work"):
        raise AssertionError("nothing was copied")
    assert "geheim" not in str(told.value)
