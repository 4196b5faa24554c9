"""The spool: one transaction, restarts, damage, bounds. Numbers in the docstrings are those of the module's rules."""

import hashlib
import json
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from edge_client.figures import read_figures, read_ledger
from edge_client.sampler import Sampler
from edge_client.spool import Spool
from edge_client.spool_database import SpoolError
from edge_client.steps import Extra, Offer, Open, Seal, Seen
from edge_client.tally import Tally
from tests.unit.capture.device import DrivenClock

CLOCK = DrivenClock()


def spool(folder: Path, **changes) -> Spool:
    arguments = {"limit_bytes": 10_000, "clock": CLOCK, "free_bytes": lambda _: 1 << 40}
    return Spool(folder, **{**arguments, **changes})


def opening(window: int = 1, budget: int = 5_000) -> Open:
    return Open(window=window, opened_at=CLOCK.now(), byte_budget=budget)


def offer(name: int, *, q: float = 2.0, size: int = 100, window: int = 1) -> Offer:
    return Offer(
        window=window,
        sample_id=f"{name:032x}",
        weight=q / 2,
        u=0.5,
        run=name,
        reasons="{}",
        sealed=hashlib.sha256(str(name).encode()).digest() * (size // 32) + b"x" * (size % 32),
    )


def seen(window: int = 1, frames: int = 1) -> Seen:
    tally = Tally()
    for run in range(frames):
        tally.see(weight=1, label="ok", verdict="ok", engine_id="e1", anomaly=0.2, margin=0.9, run=run)
    return Seen(window=window, tally=tally, at=CLOCK.now())


def states(folder: Path) -> dict[int, str]:
    return {int(e.sample_id, 16): e.state for e in read_ledger(folder)}


def row(s: Spool, window: int = 1) -> dict:
    found = s.db.execute("SELECT state, tau, tally FROM windows WHERE window = ?", (window,)).fetchone()
    return {"state": found[0], "tau": found[1], **json.loads(found[2])}


def test_a_commit_stores_rows_threshold_and_counts_together(tmp_path: Path):
    s = spool(tmp_path)
    done = s.commit([opening(budget=250), seen(frames=3), offer(1, q=1), offer(2, q=3), offer(3, q=2)])
    assert {int(k, 16) for k in done.kept} == {2, 3}
    assert done.thresholds == {1: 1.0}
    assert row(s)["tau"] == 1.0
    assert row(s)["frames"] == 3
    assert sorted(p.stem for p in (tmp_path / "blobs").iterdir()) == [f"{2:032x}", f"{3:032x}"]
    s.commit([offer(4, q=9)])
    assert states(tmp_path) == {2: "kept", 3: "evicted", 4: "kept"}  # 1 was never acknowledged
    s.close()


def test_a_restart_seals_the_window_and_goes_on_where_it_was(tmp_path: Path):
    """Rule 3."""
    s = spool(tmp_path)
    s.commit([opening(budget=250), seen(frames=5), offer(1, q=1), offer(2, q=3), offer(3, q=2)])
    epoch, sequence = s.epoch, max(e.sequence for e in read_ledger(tmp_path))
    s.close()
    again = spool(tmp_path)
    assert again.epoch == epoch
    assert again.next_window == 2
    assert again.next_run == 5
    assert row(again)["state"] == "sealed"
    assert row(again)["frames"] == 5
    assert again.thresholds() == {1: 1.0}
    again.commit([opening(2), seen(2), offer(9, window=2)])
    assert max(e.sequence for e in read_ledger(tmp_path)) > sequence
    again.close()


def test_a_window_that_saw_nothing_leaves_no_trace_at_a_restart(tmp_path: Path):
    s = spool(tmp_path)
    s.commit([opening()])
    s.close()
    again = spool(tmp_path)
    assert again.db.execute("SELECT count(*) FROM windows").fetchone()[0] == 0
    assert again.next_window == 2  # its number is not used twice
    again.close()


def test_a_blob_without_a_row_is_removed_and_a_row_without_a_blob_counts_as_excluded(tmp_path: Path):
    """Rule 3: what a power cut may leave behind, and what a broken disk may."""
    s = spool(tmp_path)
    s.commit([opening(), seen(frames=2), offer(1), offer(2)])
    s.close()
    (tmp_path / "blobs" / f"{7:032x}.age").write_bytes(b"never committed")
    (tmp_path / "blobs" / f"{1:032x}.age").unlink()
    again = spool(tmp_path)
    assert [p.stem for p in (tmp_path / "blobs").iterdir()] == [f"{2:032x}"]
    assert states(tmp_path) == {1: "damaged", 2: "kept"}
    assert row(again)["excluded"] == 1
    again.close()


def test_two_processes_cannot_own_one_spool(tmp_path: Path):
    s = spool(tmp_path)
    with pytest.raises(SpoolError, match="in use by another process"):
        spool(tmp_path)
    s.close()
    spool(tmp_path).close()


@pytest.mark.parametrize("damage", [lambda b: b"rubbish" + b[7:], lambda b: b[:4096] + b"\xff" * 4096 + b[8192:]])
def test_a_damaged_database_is_set_aside_and_a_new_epoch_begins(tmp_path: Path, damage):
    s = spool(tmp_path, limit_bytes=1_000_000)
    s.commit([opening(), seen(), offer(1)])
    epoch = s.epoch
    s.close()
    database = tmp_path / "spool.db"
    database.write_bytes(damage(database.read_bytes()))
    again = spool(tmp_path, limit_bytes=1_000_000)
    assert again.epoch != epoch
    assert 0 < 1_000_000 - again.capacity() < 100_000  # the set-aside is charged
    assert (tmp_path / "set-aside" / "blobs" / f"{1:032x}.age").exists()
    assert list(read_ledger(tmp_path)) == []
    again.commit([opening(), seen(), offer(2)])
    assert read_figures(tmp_path).set_aside
    again.close()


@pytest.mark.parametrize("removed", ["", "spool.db", "blobs"])
def test_a_spool_that_is_removed_under_it_begins_anew_and_says_so(tmp_path: Path, removed: str):
    """SQLite would go on writing into a file without a name."""
    folder = tmp_path / "spool"
    s = spool(folder)
    s.commit([opening(), seen(), offer(1)])
    epoch = s.epoch
    if (folder / removed).is_dir():
        shutil.rmtree(folder / removed)
    else:
        (folder / removed).unlink()
    with pytest.raises(SpoolError, match="was removed while it was in use"):
        s.commit([offer(2)])
    assert (s.epoch == epoch) == (removed == "blobs")  # the database still knows what is missing
    window = s.next_window
    s.commit([opening(window), seen(window), offer(3, window=window)])
    with pytest.raises(SpoolError, match="in use"):
        spool(folder)
    assert states(folder) == {3: "kept"} | ({1: "damaged"} if removed == "blobs" else {})
    assert "leave the folder alone" in s.loss
    s.close()
    spool(folder).close()


def test_damage_that_shows_in_the_middle_begins_a_new_epoch_too(tmp_path: Path):
    s = spool(tmp_path, limit_bytes=1_000_000)
    s.commit([opening(), seen(), offer(1)])
    epoch = s.epoch
    s.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (tmp_path / "spool.db").open("r+b") as file:
        file.write(b"\0" * (1 << 16))
    other = sqlite3.connect(tmp_path / "spool.db")  # the page cache of the spool's own connection must not hide it
    other.close()
    s.db.execute("PRAGMA shrink_memory")
    with pytest.raises(SpoolError, match="not a database"):
        s.commit([seen(), offer(2)])
    assert s.epoch != epoch
    s.commit([opening(), seen(), offer(999)])
    assert states(tmp_path) == {999: "kept"}
    s.close()


def test_the_spool_yields_when_other_programs_fill_the_disk(tmp_path: Path):
    """Rule 4."""
    free = [1 << 40]
    s = spool(tmp_path, free_bytes=lambda _: free[0], reserve_bytes=1000)
    s.commit([opening(), seen(frames=10), *(offer(n, q=n) for n in range(1, 11))])
    assert s.sampler.total_bytes == 1000
    free[0] = 600  # 400 less than the reserve
    s.commit([seen()])
    assert s.sampler.total_bytes == 600
    assert [n for n, state in states(tmp_path).items() if state == "kept"] == [5, 6, 7, 8, 9, 10]
    assert s.thresholds() == {1: 4.0}
    free[0] = 0
    s.commit([seen()])
    assert s.sampler.total_bytes == 0
    s.close()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses to write further into any file: a real failing write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_blob_that_the_disk_refuses_is_an_eviction(tmp_path: Path):
    """Rule 5."""
    s = spool(tmp_path, limit_bytes=10_000_000)
    s.commit([opening(budget=9_000_000), seen()])
    with files_of_at_most(1_000_000):
        done = s.commit([seen(frames=2), offer(1, q=7, size=2_000_000), offer(2, q=8)])
    assert {int(k, 16) for k in done.kept} == {2}
    assert done.thresholds == {1: 7.0}
    assert row(s)["tau"] == 7.0
    assert row(s)["overload"] == 1
    assert [p.stem for p in (tmp_path / "blobs").iterdir()] == [f"{2:032x}"]
    s.close()


def test_a_commit_that_fails_leaves_nothing_and_the_next_one_works(tmp_path: Path):
    """Rule 2."""
    s = spool(tmp_path)
    s.commit([opening(budget=250), seen(), offer(1, q=1), offer(2, q=2)])
    with files_of_at_most(500), pytest.raises(SpoolError, match="could not be written"):
        s.commit([seen(), offer(3, q=3)])  # the blob fits, the database's log does not
    assert sorted(int(p.stem, 16) for p in (tmp_path / "blobs").iterdir()) == [1, 2]
    assert s.thresholds() == {1: 0.0}
    assert row(s)["frames"] == 1
    s.commit([seen(), offer(4, q=4)])
    assert states(tmp_path) == {1: "evicted", 2: "kept", 4: "kept"}
    assert row(s)["frames"] == 2
    s.close()


def test_a_mistake_in_a_step_undoes_the_whole_commit(tmp_path: Path):
    s = spool(tmp_path)
    s.commit([opening(), seen()])
    bad = Offer(window=1, sample_id="f" * 32, weight=-1, u=0.5, run=0, reasons="{}", sealed=b"x")
    with pytest.raises(ValueError, match="expected w > 0"):
        s.commit([offer(1), bad])
    assert s.sampler.total_bytes == 0
    s.commit([offer(2)])
    assert states(tmp_path) == {2: "kept"}
    s.close()


def extra(name: int, *, kind: str = "flag", size: int = 100, window: int = 1) -> Extra:
    return Extra(window=window, sample_id=f"{name:032x}", kind=kind, sealed=b"e" * size)


def test_extras_have_their_own_share_and_their_oldest_image_makes_room(tmp_path: Path):
    s = spool(tmp_path, limit_bytes=1000)  # a fifth is 200
    s.commit([opening(budget=1000), extra(1), extra(2, kind="events")])
    done = s.commit([extra(3)])
    assert states(tmp_path) == {1: "evicted", 2: "kept", 3: "kept"}
    assert not done.refused
    assert s.commit([extra(4, size=150)]).refused == {f"{4:032x}"}  # the event stays
    s.close()


def test_flags_take_at_most_the_windows_budget_once_more(tmp_path: Path):
    s = spool(tmp_path)
    done = s.commit([opening(budget=250), extra(1), extra(2), extra(3), extra(4, kind="events")])
    assert done.refused == {f"{3:032x}"}
    s.close()


def test_a_flag_on_a_kept_sample_adds_nothing_and_on_an_evicted_one_brings_it_back(tmp_path: Path):
    s = spool(tmp_path)
    s.commit([opening(budget=100), seen(frames=2), offer(1, q=1), offer(2, q=2)])
    s.commit([offer(3, q=3)])
    assert states(tmp_path) == {2: "evicted", 3: "kept"}
    s.commit([extra(2), extra(3)])
    assert {int(e.sample_id, 16): (e.state, e.extra) for e in read_ledger(tmp_path)} == {
        2: ("kept", "flag"),
        3: ("kept", None),
    }
    s.close()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.floats(0.1, 50), st.integers(1, 400)),
        st.tuples(st.just("rotate"), st.just(0.0), st.just(0)),
        st.tuples(st.just("restart"), st.just(0.0), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=20, deadline=None)
@given(history=steps)
def test_restarts_change_nothing_about_what_is_kept(tmp_path_factory, history):
    """A spool that is closed and opened at random behaves as a sampler that never stopped (it seals the window)."""
    folder = tmp_path_factory.mktemp("spool")
    s = spool(folder, limit_bytes=1500)
    model = Sampler(pool_bytes=1500)
    window = 1
    s.commit([opening(1, 900), seen(1)])
    model.open_window(1, byte_budget=900)
    for n, (what, q, size) in enumerate(history):
        if what == "offer":
            s.commit([seen(window), offer(n, q=q, size=size, window=window)])
            model.offer(window, f"{n:032x}", weight=q / 2, u=0.5, size=size)
        else:
            if what == "rotate":
                s.commit([Seal(window=window, closed_at=CLOCK.now())])
            else:
                s.close()
                s = spool(folder, limit_bytes=1500)
            model.seal(window)
            window += 1
            s.commit([opening(window, 900), seen(window)])
            model.open_window(window, byte_budget=900)
        assert s.thresholds() == model.thresholds()
        assert {e.sample_id for e in read_ledger(folder) if e.state == "kept"} == {
            k for w in model.thresholds() for k in model.keys(w)
        }
        assert {p.stem for p in (folder / "blobs").iterdir()} == {
            e.sample_id for e in read_ledger(folder) if e.state == "kept"
        }
    s.close()
