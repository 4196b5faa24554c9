"""Downloads: bounded, resumed, checked."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import BadRelease, NotFound, Unavailable
from edge_client.updates import download as module
from edge_client.updates.delta import Piece
from edge_client.updates.download import CHUNK_BYTES, download
from tests.unit.updates.release_world import HandClock

DATA = bytes(range(256)) * (CHUNK_BYTES // 256) * 3 + b"end"
DIGEST = hashlib.sha256(DATA).hexdigest()


class SlowBucket(DirectoryBucket):
    """Counts what is read, takes time, and fails once."""

    def __init__(self, path: Path, clock: HandClock, *, seconds: float = 0.0, fails_at: int = -1) -> None:
        super().__init__(path)
        self.clock, self.seconds, self.fails_at = clock, seconds, fails_at
        self.starts: list[int] = []

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if len(self.starts) == self.fails_at:
            self.fails_at = -1
            raise Unavailable("cut")
        self.starts.append(start)
        self.clock.advance(seconds=self.seconds)
        return super().get_range(key, start, length)


def fetch(bucket: DirectoryBucket, folder: Path, clock: HandClock, **limits: Any) -> Path:
    return download(bucket, "big", sha256=DIGEST, length=len(DATA), folder=folder, clock=clock, **limits)


def test_a_download_that_was_cut_goes_on_where_it_stopped(tmp_path: Path) -> None:
    clock = HandClock()
    bucket = SlowBucket(tmp_path / "bucket", clock, fails_at=2)
    bucket.put("big", DATA)
    with pytest.raises(Unavailable):
        fetch(bucket, tmp_path / "parts", clock)
    path = fetch(bucket, tmp_path / "parts", clock)
    assert path.read_bytes() == DATA
    assert bucket.starts == [0, CHUNK_BYTES, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES]


def test_a_finished_download_is_not_fetched_again(tmp_path: Path) -> None:
    clock = HandClock()
    bucket = SlowBucket(tmp_path / "bucket", clock)
    bucket.put("big", DATA)
    fetch(bucket, tmp_path / "parts", clock)
    bucket.starts.clear()
    assert fetch(bucket, tmp_path / "parts", clock).read_bytes() == DATA
    assert bucket.starts == []


def test_a_trickling_server_is_given_up(tmp_path: Path) -> None:
    clock = HandClock()
    bucket = SlowBucket(tmp_path / "bucket", clock, seconds=20)
    bucket.put("big", DATA)
    with pytest.raises(Unavailable, match="bytes/s"):
        fetch(bucket, tmp_path / "parts", clock, least_bytes_per_second=1e6)
    bucket.seconds = 100
    with pytest.raises(Unavailable, match="goes on with the next check"):
        fetch(bucket, tmp_path / "parts", clock, deadline_seconds=50)
    assert fetch(bucket, tmp_path / "parts", clock).read_bytes() == DATA  # the rest, resumed


@pytest.mark.parametrize("stored", [b"", DATA[:-1], DATA[:-1] + b"x", DATA + b"more", b"y" * len(DATA)])
def test_an_object_that_is_not_what_was_signed_is_refused_and_removed(tmp_path: Path, stored: bytes) -> None:
    clock = HandClock()
    bucket = DirectoryBucket(tmp_path / "bucket")
    bucket.put("big", stored)
    if stored == DATA + b"more":  # what was signed is all that is read
        assert fetch(bucket, tmp_path / "parts", clock).read_bytes() == DATA
        return
    with pytest.raises(BadRelease, match="is not what was signed"):
        fetch(bucket, tmp_path / "parts", clock)
    assert list((tmp_path / "parts").iterdir()) == []


@pytest.mark.parametrize("left_over", [b"wrong" * 1000, DATA + b"too long"])
def test_a_damaged_leftover_does_not_last(tmp_path: Path, left_over: bytes) -> None:
    clock = HandClock()
    bucket = DirectoryBucket(tmp_path / "bucket")
    bucket.put("big", DATA)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / f"{DIGEST}.part").write_bytes(left_over)
    (tmp_path / "parts" / f"{'0' * 64}.part").write_bytes(b"of another release")
    try:
        fetch(bucket, tmp_path / "parts", clock)
    except BadRelease:
        fetch(bucket, tmp_path / "parts", clock)
    assert [p.read_bytes() for p in (tmp_path / "parts").iterdir()] == [DATA]


def test_a_missing_object_and_a_digest_that_is_none_are_told(tmp_path: Path) -> None:
    clock = HandClock()
    with pytest.raises(NotFound):
        fetch(DirectoryBucket(tmp_path / "bucket"), tmp_path / "parts", clock)
    with pytest.raises(BadRelease, match="64 hex digits"):
        module.download(
            DirectoryBucket(tmp_path), "big", sha256="../../etc", length=1, folder=tmp_path / "parts", clock=clock
        )


@pytest.mark.parametrize("have", [0, 1, 999, 1000, 5000, CHUNK_BYTES + 1, len(DATA) - 1, len(DATA)])
def test_a_delta_goes_on_at_any_byte(tmp_path: Path, have: int) -> None:
    clock = HandClock()
    bucket = SlowBucket(tmp_path / "bucket", clock)
    bucket.put("big", DATA)
    view = memoryview(DATA)
    plan = (
        Piece(start=0, end=1000, held=view[:1000]),
        Piece(start=1000, end=2 * CHUNK_BYTES, held=None),
        Piece(start=2 * CHUNK_BYTES, end=len(DATA), held=view[2 * CHUNK_BYTES :]),
    )
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / f"{DIGEST}.part").write_bytes(DATA[:have])
    assert fetch(bucket, tmp_path / "parts", clock, plan=plan).read_bytes() == DATA
    wanted = range(max(have, 1000), 2 * CHUNK_BYTES)
    assert bucket.starts == list(wanted[::CHUNK_BYTES])


def test_a_limit_of_bytes_a_second_holds_and_is_no_slow_server(tmp_path: Path) -> None:
    clock = HandClock()
    bucket = SlowBucket(tmp_path / "bucket", clock, seconds=0.1)
    bucket.put("big", DATA)
    rested = []

    def wait(seconds: float) -> None:
        rested.append(seconds)
        clock.advance(seconds=seconds)

    limits = {"bytes_per_second": 100_000, "least_bytes_per_second": 500_000.0}  # met while it does not rest
    assert fetch(bucket, tmp_path / "parts", clock, wait=wait, **limits).read_bytes() == DATA
    assert clock.seconds >= (len(DATA) - 100_000) / 100_000
    assert sum(rested) < clock.seconds
    assert max(b - a for a, b in zip(bucket.starts, bucket.starts[1:], strict=False)) == 100_000


def test_the_time_that_a_limit_costs_counts_for_the_deadline(tmp_path: Path) -> None:
    clock = HandClock()
    bucket = SlowBucket(tmp_path / "bucket", clock)
    bucket.put("big", DATA)
    rests = {"wait": lambda seconds: clock.advance(seconds=seconds), "bytes_per_second": 100_000}
    with pytest.raises(Unavailable, match="goes on with the next check"):
        fetch(bucket, tmp_path / "parts", clock, deadline_seconds=5.0, **rests)
    assert clock.seconds < 7
