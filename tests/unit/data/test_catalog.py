from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

import data.catalog
from data.catalog import Base, Catalog
from data.catalog.catalog import CatalogError
from data.catalog.models import DeviceRow, InspectionRow, SampleRow, SnapshotRow
from tests.unit.data.captured_line import T0, factory_sample, new_catalog, sqlite_url


def test_the_migrations_make_the_tables_that_the_models_describe(catalog: Catalog) -> None:
    with catalog.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_opening_twice_keeps_what_is_there(tmp_path: Path) -> None:
    first = Catalog.open(sqlite_url(tmp_path))
    with first.session() as session:
        session.add(InspectionRow(name="a", classes=[], settings={}, created_at=T0))
    second = Catalog.open(sqlite_url(tmp_path))
    with second.reading() as session:
        assert session.get(InspectionRow, "a") is not None
    first.close()
    second.close()


@pytest.mark.sqlite_file
def test_a_catalog_of_an_older_version_is_brought_up_with_its_content(tmp_path: Path) -> None:
    new_catalog(sqlite_url(tmp_path)).close()
    engine = create_engine(sqlite_url(tmp_path))
    config = Config()
    config.set_main_option("script_location", str(Path(data.catalog.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        connection.execute(
            text("INSERT INTO snapshots VALUES ('s1', 'solder', '2030-01-01 00:00:00', '[]', 'lake/s1', 3, '{}')")
        )
    engine.dispose()
    catalog = Catalog.open(sqlite_url(tmp_path))
    with catalog.reading() as session:
        row = session.get_one(SnapshotRow, "s1")
    assert (row.rows, row.label_serial) == (3, 0)
    catalog.close()


def test_many_that_open_a_new_catalog_at_once_migrate_it_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def open_it() -> None:
        try:
            Catalog.open(sqlite_url(tmp_path)).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []


def test_a_new_catalog_that_another_is_just_opening_is_waited_for(tmp_path: Path) -> None:
    another = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None, check_same_thread=False)
    another.execute("BEGIN IMMEDIATE")
    later = threading.Timer(0.3, another.execute, ["ROLLBACK"])
    later.start()
    Catalog.open(sqlite_url(tmp_path)).close()
    later.join()
    another.close()


def test_a_catalog_written_by_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    catalog = Catalog.open(sqlite_url(tmp_path))
    with catalog.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    catalog.close()
    with pytest.raises(CatalogError, match=r"9999.*newer.*upgrade Andon"):
        Catalog.open(sqlite_url(tmp_path))


@pytest.mark.sqlite_file
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is not a database URL"),
        ("mysql://localhost/andon", "'mysql' is not supported"),
        ("sqlite:////proc/nowhere/catalog.db", "cannot be made"),
    ],
)
def test_an_unusable_url_is_refused_with_what_to_do(url: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        Catalog.open(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"not a database, but long enough to look like one" * 40)
    with pytest.raises(CatalogError, match="cannot be opened"):
        Catalog.open(sqlite_url(tmp_path))


def test_instants_come_back_aware_and_in_utc(catalog: Catalog) -> None:
    tokyo = datetime(2030, 5, 1, 9, 30, 0, 123456, tzinfo=timezone(timedelta(hours=9)))
    with catalog.session() as session:
        session.add(InspectionRow(name="t", classes=[], settings={}, created_at=tokyo))
    with catalog.reading() as session:
        stored = session.get_one(InspectionRow, "t").created_at
    assert stored == tokyo
    assert stored.tzinfo is UTC


def test_a_naive_datetime_is_refused(catalog: Catalog) -> None:
    row = InspectionRow(name="t", classes=[], settings={}, created_at=datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(Exception, match="no time zone"), catalog.session() as session:
        session.add(row)


def test_a_sample_of_an_unknown_inspection_is_refused_by_the_schema(catalog: Catalog) -> None:
    with pytest.raises(IntegrityError):
        factory_sample(catalog, "s", inspection="nothing")


def test_an_error_inside_a_session_leaves_nothing_behind(catalog: Catalog) -> None:
    def fail_halfway() -> None:
        with catalog.session() as session:
            session.add(InspectionRow(name="half", classes=[], settings={}, created_at=T0))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    with catalog.reading() as session:
        assert session.get(InspectionRow, "half") is None


def test_reading_goes_on_while_somebody_writes(catalog: Catalog) -> None:
    with catalog.session() as writer:
        writer.add(InspectionRow(name="later", classes=[], settings={}, created_at=T0))
        writer.flush()
        with catalog.reading() as reader:
            assert reader.get(InspectionRow, "later") is None
            assert reader.get(DeviceRow, "line-1") is not None


def test_writers_wait_for_each_other_instead_of_failing(catalog: Catalog) -> None:
    factory_sample(catalog, "s", lake_row=0)
    errors: list[BaseException] = []

    def count_up() -> None:
        try:
            for _ in range(20):
                with catalog.session() as session:
                    session.get_one(SampleRow, "s").lake_row += 1  # read, then write: the pattern that deadlocks
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with catalog.reading() as session:
        assert (errors, session.get_one(SampleRow, "s").lake_row) == ([], 80)


@pytest.mark.sqlite_file
def test_a_lean_catalog_is_the_same_and_remembers_less_of_it(tmp_path: Path) -> None:
    catalog = Catalog.open(sqlite_url(tmp_path))
    with catalog.lean() as lean:
        with lean.session() as session:
            session.add(InspectionRow(name="a", classes=[], settings={}, created_at=T0))
        with catalog.reading() as session, lean.reading() as other:
            assert session.get(InspectionRow, "a") is not None
            usual, little = (each.scalar(text("PRAGMA cache_size")) for each in (session, other))
            assert 0 < -little * 8 <= -usual
    catalog.close()


def test_a_catalog_in_memory_is_lean_itself() -> None:
    catalog = Catalog.open("sqlite://")
    with catalog.lean() as lean:
        assert lean is catalog
    with catalog.reading() as session:
        assert session.scalars(text("SELECT 1")).one() == 1
    catalog.close()
