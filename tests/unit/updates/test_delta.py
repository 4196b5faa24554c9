"""Deltas: what a device holds is not fetched again, and whatever is held, the file is right in the end."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.contract import onnx_layout, parted_zip
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.chunks import ChunkList, FilePieces, chunks_path
from edge_client.contract.errors import BadRelease
from edge_client.contract.onnx_layout import piece_lengths
from edge_client.contract.selftest import SelfTest
from edge_client.updates.delta import compare, missing_bytes, piece_at
from edge_client.updates.outcome import Check
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import World, digest, selftest_of, serve

WIDE = 2000  # makes the tiny engine's projection a large tensor that two engines share


class CountingBucket(DirectoryBucket):
    """Counts what is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read: dict[str, int] = {}

    def get_range(self, key: str, start: int, length: int) -> bytes:
        data = super().get_range(key, start, length)
        suffix = key.rpartition(".")[2]
        self.read[suffix] = self.read.get(suffix, 0) + len(data)
        return data


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def released(world: World, engine_id: str, **engine: object) -> bytes:
    return world.release(engine_id, embedding_width=WIDE, **engine)


def updated(world: World) -> CountingBucket:
    """Let the device follow the channel; return what that read."""
    bucket = CountingBucket(world.bucket.path)
    device = world.device(bucket=bucket)
    assert device.check_once().check is Check.SWAPPED
    serve(device, 3)
    device.stop()
    return bucket


def pieces_of(engine: bytes) -> FilePieces:
    return FilePieces.of(engine, onnx_layout.RULE)


def assembled(new: bytes, bases: list[bytes]) -> bytes:
    """The new file, put together from bases and itself as a download does."""
    plan, have = compare(pieces_of(new), bases), b""
    while len(have) < len(new):
        held, rest = piece_at(plan, len(have), len(new))
        have += new[len(have) : len(have) + rest] if held is None else bytes(held)
    return have


def test_a_device_fetches_only_what_its_engine_lacks(world: World) -> None:
    first = released(world, "e1")
    assert updated(world).read["onnx"] == len(first)
    second = released(world, "e2", bias=1.0)
    read = updated(world).read
    assert read["onnx"] < len(second) // 10
    assert read["chunks"] > 0
    assert digest((world.config().state / "slot-b/engine.onnx").read_bytes()) == digest(second)


def test_the_factory_engine_is_a_base_too(world: World) -> None:
    factory = tiny_engine(engine_id="factory", embedding_width=WIDE)
    (world.folder / "factory.onnx").write_bytes(factory)
    engine = released(world, "e1", bias=1.0)
    assert updated(world).read["onnx"] < len(engine) // 10


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"\xff" * len(data),
        lambda data: data[:-40] + bytes(40),
        lambda data: data[:5000] + b"\xff" * 50 + data[5050:],
        lambda data: b"",
    ],
)
def test_a_damaged_base_costs_bytes_and_nothing_else(world: World, damage: Callable[[bytes], bytes]) -> None:
    (world.folder / "factory.onnx").write_bytes(tiny_engine(engine_id="factory", embedding_width=WIDE))
    engine = released(world, "e1", bias=1.0)
    device = world.device()
    factory = world.folder / "factory.onnx"
    factory.write_bytes(damage(factory.read_bytes()))
    assert device.check_once().check is Check.SWAPPED
    assert device.slot.engine.sha256 == digest(engine)


def test_a_base_that_changes_after_it_was_compared_falls_back_to_the_whole_file(world: World, tmp_path: Path) -> None:
    """The pieces are copied from memory that was checked; here the check itself is deceived."""
    from edge_client.updates.delta import Piece
    from edge_client.updates.download import download
    from tests.unit.updates.release_world import HandClock

    data = bytes(range(256)) * 40
    bucket = CountingBucket(tmp_path / "big")
    bucket.put("big.onnx", data)
    wrong = (Piece(start=0, end=5000, held=memoryview(bytes(5000))), Piece(start=5000, end=len(data), held=None))
    path = download(
        bucket,
        "big.onnx",
        sha256=hashlib.sha256(data).hexdigest(),
        length=len(data),
        folder=tmp_path / "parts",
        clock=HandClock(),
        plan=wrong,
    )
    assert path.read_bytes() == data
    assert bucket.read["onnx"] == 2 * len(data) - 5000


def test_a_list_that_is_not_what_was_signed_is_not_used(world: World) -> None:
    first = released(world, "e1")
    updated(world)
    second = released(world, "e2", bias=1.0)
    (listed,) = world.bucket.path.rglob("*.e2.chunks")
    listed.write_bytes(ChunkList.of(first, selftest_of(first)).to_json())
    assert updated(world).read["onnx"] == len(second)


def test_a_release_without_a_list_is_fetched_whole(world: World) -> None:
    released(world, "e1")
    updated(world)
    second = released(world, "e2", bias=1.0)
    (listed,) = world.bucket.path.rglob("*.e2.chunks")
    listed.unlink()
    assert updated(world).read["onnx"] == len(second)


def test_a_delta_that_saves_nothing_is_not_used(world: World) -> None:
    """A tiny engine's list is longer than what it could save."""
    world.release("e1")
    updated(world)
    other = np.random.default_rng(1).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    test = SelfTest.unpack(selftest_of(tiny_engine(engine_id="e2", seed=3, bias=2.0)))
    second = world.release("e2", seed=3, bias=2.0, selftest=replace(test, frames=other).pack())
    read = updated(world).read
    assert read["onnx"] == len(second)


def test_self_tests_that_share_frames_share_their_bytes(world: World) -> None:
    test = SelfTest.unpack(selftest_of(tiny_engine(engine_id="e1")))
    frames = np.random.default_rng(1).integers(0, 255, (8, 64, 64, 3), dtype=np.uint8)
    answers = {"probabilities": np.repeat(test.probabilities, 2, 0), "anomaly": np.repeat(test.anomaly, 2)}
    first = replace(test, frames=frames, **answers).pack()
    kept = replace(test, frames=frames, probabilities=answers["probabilities"] / 2, anomaly=answers["anomaly"]).pack()
    moved = replace(test, frames=np.concatenate([frames[3:], frames[:2], frames[:1] // 2]), **answers).pack()
    for packed, most in ((kept, 1500), (moved, 15_000)):  # a frame has 12 kB
        plan = compare(FilePieces.of(packed, parted_zip.RULE), [first])
        assert missing_bytes(plan) < most
    assert (SelfTest.unpack(first).frames == frames).all()


def test_publishing_again_changes_nothing_and_needs_no_list(world: World) -> None:
    engine = released(world, "e1")
    before = world.repository.versions()
    world.publish(engine, "e1")
    assert world.repository.versions() == before


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(min_size=0, max_size=40_000), min_size=0, max_size=4),
    st.integers(0, 50),
    st.binary(min_size=1, max_size=64),
)
def test_whatever_is_held_the_file_is_right(bases: list[bytes], at: int, patch: bytes) -> None:
    new = tiny_engine(embedding_width=WIDE)
    offset = at * len(new) // 51
    changed = new[:offset] + patch + new[offset + len(patch) :]
    assert assembled(new, [*bases, changed]) == new
    assert missing_bytes(compare(pieces_of(new), [new])) == 0


@given(st.binary(max_size=500))
def test_any_bytes_are_cut_wholly_or_not_at_all(data: bytes) -> None:
    try:
        lengths = piece_lengths(data)
    except ValueError:
        return
    assert sum(lengths) == len(data)
    assert all(length > 0 for length in lengths)


def test_a_list_reads_back_and_refuses_what_is_none() -> None:
    engine = tiny_engine(embedding_width=WIDE)
    listed = ChunkList.of(engine, selftest_of(engine))
    assert ChunkList.from_json(listed.to_json()) == listed
    assert chunks_path("engines/a/b.onnx") == "engines/a/b.chunks"
    for wrong in (b"[]", b'{"format":2}', listed.to_json().replace(b'"lengths":[', b'"lengths":[7,')):
        with pytest.raises(BadRelease, match="chunk list"):
            ChunkList.from_json(wrong)
