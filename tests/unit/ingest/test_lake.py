from __future__ import annotations

from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.disk_cache import DiskCache
from data.lake import Lake, LakeError, LakeRow
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import NotFound

DAY = date(2031, 5, 6)


class Counting:
    """A bucket that counts what is asked of it."""

    def __init__(self, inner: DirectoryBucket) -> None:
        self._inner = inner
        self.calls: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = getattr(self._inner, name)(*args, **kwargs)
            self.calls.append((name, len(answer) if isinstance(answer, bytes) else 0))
            return answer

        return call


def rows(count: int, size: int = 1000, *, seed: int = 0) -> list[LakeRow]:
    random = np.random.default_rng(seed)
    return [
        LakeRow(
            sample_id=f"{seed * 100_000 + n:032x}",
            image=random.bytes(size),
            media_type="image/png",
            embedding=random.random(16).astype(np.float16) if n % 2 else None,
            anomaly_map=random.random((3, 5)).astype(np.float16) if n % 3 else None,
        )
        for n in range(count)
    ]


def same(lake: Lake, written: list[LakeRow], locations: Any) -> None:
    for row, location in zip(written, locations, strict=True):
        stored = lake.stored(location.path, location.row)
        assert (stored.sample_id, stored.image, stored.media_type) == (row.sample_id, row.image, row.media_type)
        for got, put in ((stored.embedding, row.embedding), (stored.anomaly_map, row.anomaly_map)):
            assert (got is None) == (put is None)
            assert put is None or np.array_equal(got, put)


def test_what_was_appended_is_read_back_by_another_process_cache(tmp_path: Path) -> None:
    bucket = DirectoryBucket(tmp_path / "bucket")
    written = rows(600, 40_000)  # above both bounds of a file: 24 MB
    locations = Lake(bucket, tmp_path / "a").append("tiles", DAY, written)
    assert len({location.path for location in locations}) == 3
    assert all(location.path.startswith("lake/tiles/images/2031-05-06/") for location in locations)
    same(Lake(bucket, tmp_path / "b"), written, locations)
    same(Lake(bucket, tmp_path / "b"), written[::-1], locations[::-1])


def test_appending_the_same_rows_again_writes_nothing(tmp_path: Path) -> None:
    bucket = Counting(DirectoryBucket(tmp_path / "bucket"))
    lake = Lake(bucket, tmp_path / "cache")  # type: ignore[arg-type]
    first = lake.append("tiles", DAY, rows(20))
    puts = [name for name, _ in bucket.calls].count("put")
    assert lake.append("tiles", DAY, rows(20)) == first
    assert [name for name, _ in bucket.calls].count("put") == puts == 1
    assert lake.append("tiles", DAY, rows(20, seed=1))[0].path != first[0].path


def test_one_image_of_a_large_file_costs_a_short_range_and_its_neighbours_nothing(tmp_path: Path) -> None:
    bucket = Counting(DirectoryBucket(tmp_path / "bucket"))
    location = Lake(bucket, tmp_path / "a").append("tiles", DAY, rows(200, 60_000))[100]  # type: ignore[arg-type]
    bucket.calls.clear()
    lake = Lake(bucket, tmp_path / "b")  # type: ignore[arg-type]
    lake.image(location.path, 100)
    lake.image(location.path, 101)
    assert [name for name, _ in bucket.calls] == ["head", "get_range", "get_range"]
    assert sum(size for _, size in bucket.calls) < 1_300_000  # of 12 MB
    bucket.calls.clear()
    assert Lake(bucket, tmp_path / "b").image(location.path, 100)[1] == "image/png"  # type: ignore[arg-type]
    assert bucket.calls == []  # from the disk


def test_an_image_larger_than_every_bound_is_a_file_of_its_own(tmp_path: Path) -> None:
    lake = Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "cache")
    written = [*rows(1), *rows(1, 20 << 20, seed=1), *rows(1, seed=2)]
    locations = lake.append("tiles", DAY, written)
    assert len({location.path for location in locations}) == 3
    same(lake, written, locations)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(0, 400_000), min_size=1, max_size=40))
def test_any_sizes_are_read_back(tmp_path: Path, sizes: list[int]) -> None:
    lake = Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "cache")
    images = [bytes([n]) * size for n, size in enumerate(sizes)]
    written = [LakeRow(sample_id=f"{n:032x}", image=i, media_type="image/png") for n, i in enumerate(images)]
    same(lake, written, lake.append("tiles", DAY, written))


def test_the_files_are_plain_parquet(tmp_path: Path) -> None:
    bucket = DirectoryBucket(tmp_path / "bucket")
    location = Lake(bucket, tmp_path / "cache").append("tiles", DAY, rows(3))[0]
    table = pq.read_table(BytesIO(bucket.get(location.path, max_bytes=1 << 20)))
    assert table["sample_id"].to_pylist() == [row.sample_id for row in rows(3)]
    assert table["image"][2].as_py() == rows(3)[2].image


def test_tables_are_kept_and_cached(tmp_path: Path) -> None:
    bucket = Counting(DirectoryBucket(tmp_path / "bucket"))
    lake = Lake(bucket, tmp_path / "cache")  # type: ignore[arg-type]
    table = pa.table({"sample_id": ["a", "b"], "label": ["ok", None]})
    lake.put_table("lake/tiles/snapshots/1.parquet", table)
    assert lake.get_table("lake/tiles/snapshots/1.parquet").equals(table)
    bucket.calls.clear()
    assert lake.get_table("lake/tiles/snapshots/1.parquet").equals(table)
    assert bucket.calls == []


def test_wrong_locations_and_files_are_errors_that_name_them(tmp_path: Path) -> None:
    bucket = DirectoryBucket(tmp_path / "bucket")
    lake = Lake(bucket, tmp_path / "cache")
    path = lake.append("tiles", DAY, rows(3))[0].path
    with pytest.raises(LakeError, match="has no row 3"):
        lake.image(path, 3)
    with pytest.raises(NotFound):
        lake.image("lake/tiles/images/none.parquet", 0)
    bucket.put("lake/tiles/junk.parquet", b"PAR1 no")
    with pytest.raises(LakeError, match="not a readable Parquet file"):
        lake.image("lake/tiles/junk.parquet", 0)
    for bad in ("inbox/x", "lake/../secrets.json"):
        with pytest.raises(LakeError, match="not a path of the lake"):
            lake.get_table(bad)


def test_a_torn_cache_entry_is_a_miss_and_a_full_cache_forgets_the_oldest(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", most_bytes=100 << 20)
    cache.put("a", b"x" * 1000)
    (entry,) = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    entry.write_bytes(entry.read_bytes()[:-1])
    assert cache.get("a") is None
    small = DiskCache(tmp_path / "small", most_bytes=40 << 20)
    for n in range(8):
        small.put(str(n), bytes(11 << 20))
    kept = [n for n in range(8) if small.get(str(n)) is not None]
    assert kept[-1] == 7
    assert 0 not in kept
    assert sum(p.stat().st_size for p in (tmp_path / "small").rglob("*") if p.is_file()) < (40 + 32) << 20


def test_a_cache_on_a_disk_that_refuses_is_only_slower(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    lake = Lake(DirectoryBucket(tmp_path / "bucket"), tmp_path / "file")
    same(lake, rows(5), lake.append("tiles", DAY, rows(5)))
