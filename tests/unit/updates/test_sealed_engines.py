"""Engines sealed to an inspection's keys: who reads the bucket gets nothing, devices notice nothing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.config import ShareConfig
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.engine_keys import EngineKeys, Sealing, keys_object, turned
from edge_client.contract.errors import BadRelease, NotFound
from edge_client.contract.mirror import mirror_releases
from edge_client.contract.signing import generate_private_key, load_private_key
from edge_client.updates.outcome import Check
from edge_client.updates.updater import Updater
from edge_client.updates.web_mirror import WebMirror
from flows.releases.engine_keys import load_engine_keys, next_engine_key, share_engine_keys
from tests.unit.updates.release_world import INSPECTION, World, digest, serve
from tests.unit.updates.test_delta import WIDE, CountingBucket

KEY = bytes(range(32))


class Fleet(World):
    """A world whose inspection is sealed, and whose device has a key of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.device_key = folder / "device.key"
        self.public = generate_private_key(self.device_key)
        self.rotate()

    def rotate(self, *, revoked: bool = False) -> None:
        keys = next_engine_key(folder := self.folder / "keys", INSPECTION)
        assert load_engine_keys(folder, INSPECTION) == keys
        devices, ended = ({}, ("line-1",)) if revoked else ({"line-1": self.public}, ())
        share_engine_keys(self.bucket, keys, INSPECTION, devices, ended=ended)

    def sealed_device(self, **changes: object) -> Updater:
        return self.device(device_key=self.device_key, **changes)  # type: ignore[arg-type]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def confirmed(device: Updater) -> str:
    assert device.check_once().check is Check.SWAPPED
    serve(device, 3)
    sha256 = device.slot.engine.sha256
    device.stop()
    return sha256


def test_a_sealed_engine_is_delivered_and_the_bucket_holds_nothing_of_it(fleet: Fleet) -> None:
    engine = fleet.release("e1", embedding_width=WIDE)
    assert confirmed(fleet.sealed_device()) == digest(engine)
    pieces = {engine[at : at + 16] for at in range(0, len(engine) - 16, 16)}
    pieces = {piece for piece in pieces if len(set(piece)) > 4}
    for path in fleet.bucket.path.rglob("*.e1.*"):
        stored = path.read_bytes()
        if path.suffix != ".chunks":
            assert not any(piece in stored for piece in pieces)
            counts = np.bincount(np.frombuffer(stored, np.uint8), minlength=256)
            assert counts.max() < 3 * counts.mean() + 30  # no pattern of a plain file
    assert not list(fleet.bucket.path.rglob(f"{digest(engine)}*"))


def test_a_sealed_delta_stays_small(fleet: Fleet) -> None:
    fleet.release("e1", embedding_width=WIDE)
    confirmed(fleet.sealed_device())
    second = fleet.release("e2", embedding_width=WIDE, bias=1.0)
    bucket = CountingBucket(fleet.bucket.path)
    assert confirmed(fleet.sealed_device(bucket=bucket)) == digest(second)
    assert bucket.read["onnx"] < len(second) // 10


def test_a_device_without_the_key_goes_on_and_follows_once_it_has_it(fleet: Fleet) -> None:
    engine = fleet.release("e1")
    held = fleet.bucket.get(keys_object(INSPECTION, "line-1"), max_bytes=1 << 16)
    fleet.bucket.delete(keys_object(INSPECTION, "line-1"))
    device = fleet.sealed_device()
    outcome = device.check_once()
    assert outcome.check is Check.REFUSED
    assert "has not been given" in outcome.reason
    assert (serve(device, 1), device.status().quarantined) == (0, ())
    fleet.bucket.put(keys_object(INSPECTION, "line-1"), held)
    assert confirmed(device) == digest(engine)


def test_the_keys_may_come_with_the_bundle(fleet: Fleet) -> None:
    engine = fleet.release("e1")
    (fleet.folder / "fleet.age").write_bytes(fleet.bucket.get(keys_object(INSPECTION, "line-1"), max_bytes=1 << 16))
    fleet.bucket.delete(keys_object(INSPECTION, "line-1"))
    assert confirmed(fleet.sealed_device(bundled_keys=fleet.folder / "fleet.age")) == digest(engine)


def test_a_revoked_device_cannot_open_what_is_approved_after(fleet: Fleet) -> None:
    first = fleet.release("e1")
    device = fleet.sealed_device()
    device.check_once()
    serve(device, 3)
    fleet.rotate(revoked=True)
    fleet.release("e2")
    assert device.check_once().check is Check.REFUSED
    assert device.slot.engine.sha256 == digest(first)
    with pytest.raises(NotFound):
        fleet.bucket.get(keys_object(INSPECTION, "line-1"), max_bytes=1 << 16)


def test_a_rotation_needs_no_visit_and_old_engines_still_open(fleet: Fleet) -> None:
    first = fleet.release("e1")
    assert confirmed(fleet.sealed_device()) == digest(first)
    fleet.rotate()
    second = fleet.release("e2")
    assert confirmed(fleet.sealed_device()) == digest(second)
    fresh = fleet.sealed_device(state=fleet.folder / "fresh")  # sealed to the first key, shared with the second
    fleet.repository.set_channel(fleet.channel(first, "e1"))
    assert confirmed(fresh) == digest(first)


def test_a_mirror_carries_sealed_engines_and_a_stick_the_keys_too(fleet: Fleet) -> None:
    engine = fleet.release("e1")
    stick = DirectoryBucket(fleet.folder / "stick")
    mirror_releases(fleet.bucket, stick, engine_keys=True)
    device = fleet.sealed_device()
    assert device.check_once(stick).check is Check.SWAPPED
    assert device.slot.engine.sha256 == digest(engine)
    assert not list(stick.path.rglob(f"{digest(engine)}*"))


def test_wrong_bytes_are_refused_as_ever(fleet: Fleet) -> None:
    fleet.release("e1")
    (path,) = fleet.bucket.path.rglob("*.e1.onnx")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert fleet.sealed_device().check_once().check is Check.REFUSED


def test_a_neighbour_gives_no_engine_in_the_plain(fleet: Fleet) -> None:
    engine = fleet.release("e1")
    device = fleet.sealed_device(share=ShareConfig(host="127.0.0.1", port=_free_port()))
    device.check_once()
    serve(device, 3)
    device.start()
    neighbour = WebMirror(f"http://127.0.0.1:{device._share.port}/")  # type: ignore[union-attr]
    with pytest.raises(NotFound):
        neighbour.get(f"releases/targets/engines/{INSPECTION}/{digest(engine)}.e1.onnx", max_bytes=1 << 20)
    device.stop()


def test_an_engine_that_was_approved_in_the_plain_stays_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    engine = world.release("e1")
    next_engine_key(tmp_path / "keys", INSPECTION)
    world.publish(engine, "e1")
    assert confirmed(world.device()) == digest(engine)


def test_keys_are_opened_by_their_device_alone(tmp_path: Path) -> None:
    keys = EngineKeys.new(EngineKeys.new())
    public = generate_private_key(tmp_path / "one.key")
    generate_private_key(tmp_path / "other.key")
    sealed = keys.seal_for(public)
    assert EngineKeys.open_with(sealed, load_private_key(tmp_path / "one.key")) == keys
    for wrong, file in ((sealed, "other.key"), (sealed[:-1], "one.key"), (b"", "one.key")):
        with pytest.raises(BadRelease, match="not sealed to this device"):
            EngineKeys.open_with(wrong, load_private_key(tmp_path / file))
    for text in (
        b"{}",
        b'{"current":"a","keys":{}}',
        b'{"current":"a","keys":{"a":"AA=="}}',
        b'{"current":"a","keys":{"a":1}}',
    ):
        with pytest.raises(BadRelease, match="engine keys"):
            EngineKeys.from_json(text)
    with pytest.raises(BadRelease, match="64 hex digits"):
        Sealing.from_custom({"sealed": {"key": "k1", "sha256": "../../x"}})


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 200))
def test_any_part_of_a_file_opens_by_its_place(data: bytes, start: int, length: int) -> None:
    sealed = turned(data, key=KEY, sha256="a" * 64)
    part = sealed[start : start + length]
    assert turned(part, key=KEY, sha256="a" * 64, offset=start) == data[start : start + length]
    if len(data) > 16:
        assert turned(data, key=KEY, sha256="b" * 64) != sealed


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
