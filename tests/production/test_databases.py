"""The three databases on a PostgreSQL over TLS: made, and their schemas brought up to date."""

from __future__ import annotations

import psycopg

from data.catalog import Catalog
from data.services import parse_database
from infra.stack.databases import make_databases, upgrade_databases
from tests.production.plant import Plant


def test_databases_are_made_once_and_upgraded_as_often_as_one_likes(plant: Plant) -> None:
    told: list[str] = []
    database = parse_database(plant.postgres.url_over_tls("upgraded", password=True), "here")
    assert make_databases(database) == [database.name, database.mlflow, database.prefect]
    assert make_databases(database) == []
    Catalog.open(database.url).close()
    for _ in range(2):
        upgrade_databases(database, told.append)
    assert len(told) == 4
    for name, table in ((database.mlflow, "registered_models"), (database.prefect, "flow_run")):
        with psycopg.connect(database.url_of(name)) as connection:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
