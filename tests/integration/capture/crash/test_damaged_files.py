"""Files of a spool are cut short or zeroed while no process runs: the next one starts, and loses no more than it must.

A damaged database is set aside, or what SQLite can still vouch for is used; a damaged blob is counted as excluded and
everything else arrives; and whatever happened, the spool goes on within its bounds and what it takes from then on
reaches the bucket.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import copy
from pathlib import Path

import pytest

from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.names import shard_key
from edge_client.contract.signing import generate_private_key
from edge_client.spool import Spool
from edge_client.steps import Seal
from edge_client.uploader import Uploader
from tests.integration.capture.crash.story import BUDGET, LIMIT, Line, open_spool, outbox_of, state_of
from tests.unit.capture.device import records_in, sealed_of
from tests.unit.capture.test_spool import CLOCK, extra, opening

PAGE = 4096


class Left:
    """A spool as a killed process left it: a database, its journal and blobs; one window is half uploaded."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bucket, self.key = folder / "left", folder / "sent", folder / "device.key"
        self.public_key = generate_private_key(self.key)
        live = folder / "live"
        line = Line(5)
        spool = open_spool(live)
        spool.commit([opening(1, BUDGET), *line.frames(1, 12), Seal(window=1, closed_at=CLOCK.now())])
        spool.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spool.commit([opening(2, BUDGET), *line.frames(2, 6), extra(900, window=2)])
        outbox = outbox_of(spool, self.key)
        shard = outbox.next_shard(1)
        assert shard is not None
        bucket = DirectoryBucket(self.bucket)
        bucket.put(shard_key(outbox.device, outbox.epoch, 1, shard.n), shard.data)
        outbox.acknowledge(shard)
        spool.commit(line.frames(2, 2))
        shutil.copytree(live, self.folder)
        self.state = state_of(spool)
        self.epoch = spool.epoch
        spool.close()

    def kept(self) -> dict[str, str]:
        """Sample → digest of what is kept and not yet in the bucket."""
        return {name: e[2] for name, e in self.state["entries"].items() if e[0] == "kept" and not e[3]}


def damages(size: int) -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    """Yield ways to damage a file of a size."""
    for length in sorted({0, 1, 16, 100, size // 3, size // 2, size - PAGE, size - 1}):
        if 0 <= length < size:
            yield f"cut to {length}", lambda data, n=length: data[:n]
    for start in sorted({0, *range(PAGE, size, PAGE)}):
        yield (
            f"page at {start} zeroed",
            lambda data, n=start: data[:n] + bytes(len(data[n : n + PAGE])) + data[n + PAGE :],
        )
    for start in range(157, size, 1500):
        yield (
            f"30 bytes at {start} zeroed",
            lambda data, n=start: data[:n] + bytes(len(data[n : n + 30])) + data[n + 30 :],
        )
    yield "all zeroed", lambda data: bytes(len(data))


@pytest.fixture(scope="module")
def closed(left: Left, tmp_path_factory: pytest.TempPathFactory) -> Left:
    """The same spool after its process ended in peace: all is in the database, the journal is empty."""
    found = copy(left)
    found.folder = tmp_path_factory.mktemp("closed") / "left"
    shutil.copytree(left.folder, found.folder)
    with closing(sqlite3.connect(found.folder / "spool.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return found


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    return Left(tmp_path_factory.mktemp("left"))


def started(left: Left, folder: Path, file: str, damage: Callable[[bytes], bytes]) -> Spool:
    """Start on a copy of which one file is damaged."""
    shutil.copytree(left.folder, folder / "spool")
    shutil.copytree(left.bucket, folder / "bucket")
    path = folder / "spool" / file
    path.write_bytes(damage(path.read_bytes()))
    return open_spool(folder / "spool")


def goes_on(left: Left, folder: Path, spool: Spool) -> tuple[set[str], int]:
    """Take more frames, send everything; returns what the records list, and how many frames they exclude."""
    line = Line(6)
    line.frames(0, 100)  # other frames than those that were left
    window = spool.next_window
    more = spool.commit([opening(window, BUDGET), *line.frames(window, 3)]).kept
    assert spool.sampler.total_bytes + spool.extras.bytes <= LIMIT
    assert all(spool.sampler.window_bytes(w) <= BUDGET for w in spool.thresholds())
    spool.commit([Seal(window=window, closed_at=CLOCK.now())])
    bucket = DirectoryBucket(folder / "bucket")
    uploader = Uploader(outbox_of(spool, left.key), bucket, clock=CLOCK)
    while uploader.send_next():
        pass
    records = records_in(bucket, left.public_key)
    for record in records:
        sealed_of(record, bucket)  # all that it lists is there, as it was
    listed = [e.sample_id for record in records for e in record.manifest]
    assert len(listed) == len(set(listed))
    assert more - {n for n, e in state_of(spool)["entries"].items() if e[0] == "evicted"} <= set(listed)
    return set(listed), sum(record.excluded for record in records)


def _every_damage(left: Left, fast: Path, file: str) -> Counter[str]:
    """Start on every way that one file may be damaged; what is not vouched for is never half used."""
    seen: Counter[str] = Counter()
    for what, damage in damages((left.folder / file).stat().st_size):
        folder = fast / "run"
        folder.mkdir()
        try:
            spool = started(left, folder, file, damage)
            goes_on(left, folder, spool)
            aside = folder / "spool" / "set-aside"
            seen["set aside" if aside.exists() else "used"] += 1
            assert aside.exists() == (spool.epoch != left.epoch)
            assert not aside.exists() or (aside / "spool.db").exists()
            spool.close()
        except BaseException as error:
            error.add_note(f"{file}: {what}")
            raise
        shutil.rmtree(folder)
    return seen


def test_a_damaged_database_never_keeps_the_client_from_running(closed: Left, fast: Path):
    seen = _every_damage(closed, fast, "spool.db")
    assert seen["set aside"] > 8
    assert seen["used"] > 0  # where nothing was, nothing is lost


@pytest.mark.parametrize("file", ["spool.db-wal", "spool.db-shm"])
def test_of_a_damaged_journal_what_its_checksums_vouch_for_is_used(left: Left, fast: Path, file: str):
    assert _every_damage(left, fast, file)["set aside"] == 0


def test_what_sqlite_cannot_see_in_a_row_is_seen(closed: Left, fast: Path):
    """The database is whole; values inside are not what a client writes. It is set aside like any other damage."""
    for change in (
        "UPDATE windows SET tally = '{' WHERE window = 1",
        "UPDATE windows SET tally = '{}' WHERE window = 1",
        "UPDATE windows SET tau = 'x'",
        "UPDATE windows SET closed_at = 'yesterday'",
        "UPDATE entries SET u = 0 WHERE state = 'kept'",
        "UPDATE entries SET sha256 = substr(sha256, 2) WHERE state = 'kept'",
        "UPDATE entries SET sample_id = char(0) || substr(sample_id, 2) WHERE state = 'kept'",
        "UPDATE entries SET reasons = '' WHERE state = 'kept'",
        "UPDATE entries SET state = '' WHERE state = 'kept'",
        "UPDATE meta SET value = 'x' WHERE key = 'next_window'",
    ):
        folder = fast / "run"
        folder.mkdir()
        shutil.copytree(closed.folder, folder / "spool")
        shutil.copytree(closed.bucket, folder / "bucket")
        with closing(sqlite3.connect(folder / "spool" / "spool.db", isolation_level=None)) as database:
            database.execute(change)
        spool = open_spool(folder / "spool")
        assert spool.epoch != closed.epoch, change
        goes_on(closed, folder, spool)
        spool.close()
        shutil.rmtree(folder)


def test_a_damaged_blob_is_counted_and_everything_else_arrives(left: Left, fast: Path):
    kept = left.kept()
    names = sorted(kept)
    for number, name in enumerate(names):
        size = (left.folder / "blobs" / f"{name}.age").stat().st_size
        ways = list(damages(size))
        what, damage = ways[number % len(ways)]
        folder = fast / "run"
        folder.mkdir()
        try:
            spool = started(left, folder, f"blobs/{name}.age", damage)
            listed, excluded = goes_on(left, folder, spool)
            assert listed >= set(kept) - {name}
            assert name not in listed
            assert excluded == 1
            assert state_of(spool)["entries"][name][0] == "damaged"
            spool.close()
        except BaseException as error:
            error.add_note(f"blob {name}: {what}")
            raise
        shutil.rmtree(folder)
    assert len(names) > 8


def test_the_left_spool_is_what_it_says(left: Left, fast: Path):
    """Without damage everything arrives: the tests above begin from a whole spool."""
    spool = started(left, fast, "spool.db", lambda data: data)
    listed, excluded = goes_on(left, fast, spool)
    assert excluded == 0
    assert set(left.kept()) <= listed
    assert (left.folder / "spool.db-wal").stat().st_size > PAGE
    spool.close()
