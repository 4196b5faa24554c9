import io
import tarfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.decision import Verdict
from edge_client.contract.errors import AndonError, BadSample, BadShard, BucketError, ConfigError, NotFound
from edge_client.contract.sample import Event, EventsBlob, SampleBlob, unpack_blob
from edge_client.contract.sealing import generate_identity, load_identity, seal, unseal
from edge_client.contract.shard import read_shard, write_shard

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def sample(image: bytes = b"\x89PNG") -> SampleBlob:
    return SampleBlob(
        sample_id="a" * 32,
        inspection="solar-cells",
        device="line-1",
        station="el-1",
        engine_id="e1",
        media_type="image/png",
        image=image,
        captured_at=NOW,
        part_id="A-1042",
        context={"humidity": 0.41, "recipe": "B"},
        classes=("ok", "crack"),
        probabilities=np.array([0.25, 0.75], np.float32),
        anomaly=1.25,
        verdict=Verdict.DEFECT,
        embedding=np.arange(5, dtype=np.float16),
        anomaly_map=np.ones((2, 3), np.float16),
    )


def test_a_sample_survives_the_wire() -> None:
    found = unpack_blob(sample().pack())
    assert isinstance(found, SampleBlob)
    assert found.pack() == sample().pack()
    assert found.part_id == "A-1042"
    assert found.anomaly_map.shape == (2, 3)


def test_events_survive_the_wire() -> None:
    events = EventsBlob(
        events=(Event(event_id="b" * 32, kind="outcome", at=NOW, part_id="A-1", value="failed", stage="end-of-line"),)
    )
    assert unpack_blob(events.pack()) == events


@given(cut=st.integers(0, 2000), junk=st.binary(max_size=40))
@example(cut=421, junk=b"\x00\x00")  # the right length: other numbers at the end of the anomaly map
def test_a_damaged_sample_is_an_error_of_ours(cut: int, junk: bytes) -> None:
    data = sample().pack()
    for damaged in (data[: cut % len(data)], data[: cut % len(data)] + junk, junk):
        if len(damaged) != len(data):
            with pytest.raises(BadSample):
                unpack_blob(damaged)
        elif damaged != data:
            # As long as the true one it may be a sample of its own: encryption and the signed digests catch that.
            with suppress(BadSample):
                unpack_blob(damaged)


def test_a_sealed_sample_opens_with_its_identity_alone(tmp_path: Path) -> None:
    recipient = generate_identity(tmp_path / "a.age")
    other = tmp_path / "b.age"
    generate_identity(other)
    assert (tmp_path / "a.age").stat().st_mode & 0o777 == 0o600
    sealed = seal(b"frame", recipient)
    assert b"frame" not in sealed
    assert unseal(sealed, load_identity(tmp_path / "a.age")) == b"frame"
    with pytest.raises(BadSample):
        unseal(sealed, load_identity(other))
    with pytest.raises(BadSample):
        unseal(sealed[:-1], load_identity(tmp_path / "a.age"))
    with pytest.raises(ConfigError):
        generate_identity(other)  # a secret is never overwritten


def test_the_same_members_give_the_same_shard() -> None:
    members = [("a.age", b"1"), ("b.age", b"22")]
    assert write_shard(members) == write_shard(members)
    assert read_shard(write_shard(members)) == dict(members)


def archive(*infos: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info in infos:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "data",
    [
        archive(member("../evil.age")),
        archive(member("/etc/passwd")),
        archive(member("a.age", tarfile.SYMTYPE, "/etc/passwd")),
        archive(member("a.age", tarfile.LNKTYPE, "b.age")),
        archive(member("folder", tarfile.DIRTYPE)),
        archive(member("a.age", tarfile.CHRTYPE)),
        archive(member("a.age"), member("a.age")),
        write_shard([("a.age", b"123456")])[:514],
        b"not a tar" * 100,
    ],
)
def test_a_shard_with_anything_but_plain_files_is_refused(data: bytes) -> None:
    with pytest.raises(BadShard):
        read_shard(data)


def test_a_shard_is_read_in_bounds() -> None:
    data = write_shard([(f"{i}.age", b"") for i in range(5)])
    with pytest.raises(BadShard, match="members"):
        read_shard(data, max_members=4)
    with pytest.raises(BadShard, match="bytes"):
        read_shard(data, max_bytes=100)


@given(st.binary(max_size=3000))
def test_no_bytes_crash_the_shard_reader(data: bytes) -> None:
    try:
        read_shard(data)
    except AndonError:
        return


def test_a_folder_behaves_as_a_bucket(tmp_path: Path) -> None:
    bucket = DirectoryBucket(tmp_path)
    bucket.put("a/b/1", b"one")
    bucket.put("a/b/1", b"won")
    bucket.put("a/c", b"see")
    assert bucket.get("a/b/1", max_bytes=3) == b"won"
    assert bucket.get_range("a/b/1", 1, 10) == b"on"
    assert [o.key for o in bucket.list("a/")] == ["a/b/1", "a/c"]
    with pytest.raises(BucketError, match="at most 2"):
        bucket.get("a/c", max_bytes=2)
    bucket.delete("a/c")
    bucket.delete("a/c")
    assert bucket.head("a/c") is None
    with pytest.raises(NotFound):
        bucket.get("a/c", max_bytes=9)
    for key in ("../x", "/x", "a//b", ""):
        with pytest.raises(BucketError):
            bucket.put(key, b"")
