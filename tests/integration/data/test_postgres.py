"""The catalog on a real PostgreSQL: the same rules, with real concurrency."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from data.catalog import Base, Catalog
from data.catalog.catalog import CatalogError
from data.catalog.models import DrawItemRow, InspectionRow, LabelEventRow, SampleRow, WindowRow
from data.catalog.people import AuditRow
from data.draws import draw
from data.erasure.jobs import ErasureKind, begin, finish
from data.erasure.people import rename_person
from data.estimates import defect_rate
from data.labels import current_labels, label_history, record_label, record_skip, undo_label
from data.lake import Lake
from data.loop_status import loop_status
from data.queue import next_to_label
from data.server_lock import LockUnavailable, publisher_lock
from data.snapshots import take_snapshot
from data.users.audit_log import list_audit_log, record
from edge_client.contract.bucket import DirectoryBucket
from flows.exclusive import Busy, only_one
from tests.integration.data.postgres import Postgres
from tests.unit.data.captured_line import INSPECTION, T0, Line, new_catalog, sqlite_url


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    opened = new_catalog(url)
    yield opened
    opened.close()


def at_once(n: int, act: Callable[[int], object]) -> list[object]:
    """Run in n threads that start together; results or errors."""
    gate, results = threading.Barrier(n), [None] * n

    def run(i: int) -> None:
        gate.wait(30)
        try:
            results[i] = act(i)  # type: ignore[call-overload]
        except Exception as error:
            results[i] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return list(results)


def test_the_migrations_make_the_tables_that_the_models_describe(catalog: Catalog) -> None:
    with catalog.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_many_that_open_a_new_catalog_at_once_migrate_it_once(url: str) -> None:
    opened = at_once(6, lambda _: Catalog.open(url))
    assert [type(item) for item in opened] == [Catalog] * 6
    for catalog in opened:
        assert isinstance(catalog, Catalog)
        catalog.close()


def test_a_server_that_is_not_there_is_a_clear_error(postgres: Postgres) -> None:
    with pytest.raises(CatalogError, match="cannot be opened"):
        Catalog.open(f"postgresql://postgres@/none?host={postgres.folder}/nowhere")


def test_instants_come_back_aware_and_in_utc(catalog: Catalog) -> None:
    tokyo = datetime(2030, 5, 1, 9, 30, 0, 123456, tzinfo=timezone(timedelta(hours=9)))
    with catalog.session() as session:
        session.add(InspectionRow(name="t", classes=[], settings={}, created_at=tokyo))
    with catalog.reading() as session:
        stored = session.get_one(InspectionRow, "t").created_at
    assert (stored, stored.utcoffset()) == (tokyo, timedelta(0))


def test_one_sample_cannot_be_in_the_catalog_twice(catalog: Catalog) -> None:
    line = Line(catalog, np.random.default_rng(1))
    line.stream(["ok"] * 3, np.ones(3), keep=3)
    line.windows = 0
    with pytest.raises(IntegrityError):
        line.stream(["ok"] * 3, np.ones(3), keep=3)
    with catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(SampleRow)) == 3
        row = session.scalars(select(SampleRow)).first()
        assert row is not None
        copy = {c.key: getattr(row, c.key) for c in SampleRow.__mapper__.column_attrs}
    with pytest.raises(IntegrityError), catalog.session() as session:
        session.add(SampleRow(**{**copy, "sample_id": "another name for the same sequence"}))


def test_a_label_sent_by_many_retries_at_once_is_recorded_once(catalog: Catalog) -> None:
    line = Line(catalog, np.random.default_rng(1))
    sample = line.stream(["ok"], np.ones(1), keep=1)[0]

    def retry(_: int) -> object:
        return record_label(catalog, sample_id=sample, classes=["ok"], who="ann", event_id="one", at=T0)

    results = at_once(8, retry)
    assert len({str(result) for result in results}) == 1
    assert len(label_history(catalog, sample)) == 1
    undone = at_once(4, lambda i: undo_label(catalog, event_id=f"u{i}", who="ann", at=T0))
    assert [result for result in undone if isinstance(result, Exception)] == []
    assert sum(result is not None for result in undone) == 1
    assert current_labels(catalog) == {}


def test_draws_at_once_offer_every_sample_once(catalog: Catalog) -> None:
    line = Line(catalog, np.random.default_rng(1))
    for _ in range(3):
        line.stream(["ok"] * 20, np.ones(20), keep=10)
    draws = at_once(5, lambda i: draw(catalog, INSPECTION, 4, random=random.Random(i), at=T0))
    assert [item for item in draws if isinstance(item, Exception)] == []
    with catalog.reading() as session:
        offered = list(session.scalars(select(DrawItemRow.sample_id)))
        assert (len(offered), len(set(offered))) == (30, 30)


def test_a_window_that_arrives_during_a_draw_waits_whole_for_the_next(catalog: Catalog) -> None:
    uniform, done = random.Random(1), threading.Event()
    lines = [Line(catalog, np.random.default_rng(i), device=f"line-{i}") for i in (1, 2)]

    def arrive(line: Line) -> None:
        for _ in range(15):
            line.stream(["ok"] * 6, np.ones(6), keep=4)

    def work(i: int) -> None:
        if i < 2:
            arrive(lines[i])
            return
        while not done.is_set():
            draw(catalog, INSPECTION, 1, random=uniform, at=T0)
            done.set() if all(line.windows == 15 for line in lines) else None

    assert at_once(3, work) == [None, None, None]
    draw(catalog, INSPECTION, 1, random=uniform, at=T0)
    with catalog.reading() as session:
        drawn_by = {(w.device, w.window): w.draw_id for w in session.scalars(select(WindowRow))}
        pairs = session.execute(
            select(SampleRow.device, SampleRow.window, DrawItemRow.draw_id).join(
                DrawItemRow, DrawItemRow.sample_id == SampleRow.sample_id
            )
        ).all()
    assert len(pairs) == 120
    assert all(drawn_by[device, window] == draw_id for device, window, draw_id in pairs)


def test_the_whole_way_gives_the_same_figures_as_on_sqlite(catalog: Catalog, tmp_path: Path) -> None:
    answers = []
    for place in (catalog, new_catalog(sqlite_url(tmp_path))):
        line = Line(place, np.random.default_rng(4))
        labels = ["crack" if i % 5 == 0 else "ok" for i in range(200)]
        line.stream(labels, np.linspace(0.1, 1, 200), keep=80)
        line.stream(["crack"], np.ones(1), keep=1, extra="flag")
        draw(place, INSPECTION, 20, random=random.Random(4), at=T0)
        items = next_to_label(place, INSPECTION, "ann", 12, at=T0)
        record_skip(place, sample_id=items[-1].sample_id, who="ann", event_id="skip", at=T0)
        for item in items[:-1]:
            line.label(item.sample_id)
        lake = Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "cache")
        status = loop_status(place, INSPECTION).to_dict()
        answers.append(
            (
                [item.sample_id for item in next_to_label(place, INSPECTION, "bob", 50, at=T0)],
                defect_rate(place, INSPECTION),
                status,
                take_snapshot(place, lake, INSPECTION, at=T0).id,
            )
        )
    assert answers[0] == answers[1]
    with catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(LabelEventRow)) == 12


def test_a_lock_holds_over_machines_and_ends_with_its_connection(postgres: Postgres, url: str, tmp_path: Path) -> None:
    """Two home directories, as two machines have them, on one database."""
    homes = [tmp_path / name for name in ("here", "there")]
    for home in homes:
        home.mkdir()
        (home / "services.toml").write_text(f'[database]\nurl = "{url}"\n')
    with only_one(homes[0], "release", wait_seconds=0):
        told = r"release: a process at the server itself \(connection \d+ of PostgreSQL\)"
        with pytest.raises(Busy, match=told), only_one(homes[1], "release", wait_seconds=0):
            raise AssertionError("both held it")
        with only_one(homes[1], "watch", wait_seconds=0):
            pass  # another flow is not held up
    with only_one(homes[1], "release", wait_seconds=0):
        pass


def test_a_lock_whose_server_is_away_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "services.toml").write_text('[database]\nurl = "postgresql://andon@127.0.0.1:9/none"\n')
    with (
        pytest.raises(LockUnavailable, match="cannot be asked for the lock"),
        only_one(tmp_path, "release", wait_seconds=0),
    ):
        raise AssertionError("held")


def test_publishers_on_two_machines_wait_for_one_another(url: str) -> None:
    at_work: list[int] = []

    def publish(i: int) -> None:
        with publisher_lock(url)():
            at_work.append(i)
            assert len(at_work) == 1
            time.sleep(0.05)
            at_work.remove(i)

    assert at_once(4, publish) == [None] * 4


def test_the_audit_log_gives_away_a_name_alone_and_only_while_somebody_is_erased(catalog: Catalog) -> None:
    record(catalog, "rollout.hold", who="ann", at=T0, about="solder 3", facts={"by": "ann"})
    rename = update(AuditRow).values(who="somebody")
    with pytest.raises(DBAPIError, match="append-only"), catalog.session() as session:
        session.execute(rename)
    erasure = begin(
        catalog, ErasureKind.PERSON, who="boss", at=T0, pseudonym="person-1", subject={"about": "ann"}
    )  # fmt: skip
    for change in (delete(AuditRow), update(AuditRow).values(what="nothing")):
        with pytest.raises(DBAPIError, match="append-only"), catalog.session() as session:
            session.execute(change)
    rename_person(catalog, erasure, "ann")
    finish(catalog, erasure, at=T0)
    erased, held = list_audit_log(catalog)
    assert (held.who, held.facts, erased.what) == ("person-1", {"by": "person-1"}, "erase.person")
    with pytest.raises(DBAPIError, match="append-only"), catalog.session() as session:
        session.execute(rename)
