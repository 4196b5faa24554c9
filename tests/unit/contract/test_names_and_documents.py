import dataclasses
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_client.contract.decision import Verdict, decide, defect_probability
from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds
from edge_client.contract.errors import AndonError, BadEngine, BadRecord, BadRelease, BadSignature, InvalidName
from edge_client.contract.heartbeat import Heartbeat, Quarantined, Rollout
from edge_client.contract.names import check_class_name, check_name, parse_record_key, record_key
from edge_client.contract.record import ManifestEntry, ShardEntry, WindowRecord
from edge_client.contract.releases import Channel, engine_target, selftest_target
from edge_client.contract.selftest import SelfTest
from edge_client.contract.settings import DeviceSettings
from edge_client.contract.signing import canonical_json, public_hex, sign_payload, verify_payload

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENTRY = ManifestEntry(
    sample_id="a" * 32, sequence=3, shard=0, name="a.age", sha256="b" * 64, bytes=10, weight=0.5, u=0.25, run=1
)
RECORD = WindowRecord(
    device="line-1",
    site="plant",
    station="el-1",
    inspection="solar-cells",
    epoch=1,
    window=7,
    opened_at=NOW,
    closed_at=NOW,
    engine_ids=("e1",),
    frames=5,
    weight_total=2.5,
    threshold=0.75,
    byte_budget=1000,
    excluded=0,
    overload=0,
    class_counts={"ok": 5},
    verdict_counts={"ok": 5},
    histograms={"anomaly": {"edges": [0.0, 1.0], "counts": [5]}},
    runs=((1, 2),),
    manifest=(ENTRY,),
    shards=(ShardEntry(n=0, sha256="c" * 64, bytes=10240),),
)
BEAT = Heartbeat(
    device="line-1",
    site="plant",
    station="el-1",
    sequence=4,
    sent_at=NOW,
    client_version="0.1.0",
    inspection="solar-cells",
    channel="stable",
    engine_id="e1",
    engine_sha256="d" * 64,
    slot="a",
    health="ok",
    rollout=Rollout(engine_id="e1", engine_sha256="d" * 64, outcome="confirmed"),
    quarantined=(Quarantined(engine_sha256="e" * 64, reason="crashed in its trial"),),
)


@pytest.mark.parametrize("name", ["../etc", "a..b", "", "A", "a/b", "-a", "a" * 64, "ü", "a\n", ".a"])
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="device name"):
        check_name(name, "device")


@pytest.mark.parametrize("name", ["a/b", "..", "a\0", " a", "a ", "", "x" * 64])
def test_a_class_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        check_class_name(name)


@given(epoch=st.integers(0, 10**6 - 1), window=st.integers(0, 10**8 - 1))
def test_a_record_key_parses_back(epoch: int, window: int) -> None:
    assert parse_record_key(record_key("line-1", epoch, window)) == ("line-1", epoch, window)


@pytest.mark.parametrize(
    "key", ["inbox/../1-2/window.json", "inbox/a/000001-00000002/0.tar", "inbox/a/1-2/window.json"]
)
def test_a_key_that_is_no_record_is_none(key: str) -> None:
    assert parse_record_key(key) is None


def test_a_record_and_a_heartbeat_survive_the_wire() -> None:
    key = Ed25519PrivateKey.generate()
    assert WindowRecord.verify(RECORD.sign(key), public_hex(key)) == RECORD
    assert Heartbeat.verify(BEAT.sign(key), public_hex(key)) == BEAT


def test_another_devices_signature_is_refused() -> None:
    document = RECORD.sign(Ed25519PrivateKey.generate())
    with pytest.raises(BadSignature, match="another device"):
        WindowRecord.verify(document, public_hex(Ed25519PrivateKey.generate()))


def test_a_heartbeat_cannot_pass_as_a_record() -> None:
    key = Ed25519PrivateKey.generate()
    with pytest.raises(BadSignature):
        verify_payload(sign_payload({"a": 1}, key, purpose="heartbeat"), public_hex(key), purpose="window")


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(position: int, bit: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    document = bytearray(RECORD.sign(key))
    position %= len(document)
    document[position] ^= 1 << bit
    try:
        found = WindowRecord.verify(bytes(document), public_hex(key))
    except AndonError:
        return
    assert found == RECORD  # only the unsigned key id may change without harm


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "../x"}, "device name"),
        ({"frames": 0}, "more samples than"),
        ({"frames": -1}, "frames"),
        ({"threshold": -1.0}, "threshold"),
        ({"schema": 2}, "schema"),
        ({"shards": []}, "does not list"),
        ({"opened_at": "2026-01-02T03:04:05"}, "offset from UTC"),
        ({"opened_at": "0001-01-01T00:00:00+14:00"}, "year 1"),
        ({"histograms": {"anomaly": {"edges": [0], "counts": [1]}}}, "one longer"),
        ({"runs": [[1]]}, "pairs"),
    ],
)
def test_a_record_that_contradicts_itself_names_the_field(change: dict[str, object], message: str) -> None:
    payload = json.loads(canonical_json(RECORD.to_payload()))
    with pytest.raises(AndonError, match=message):
        WindowRecord.from_payload({**payload, **change})


@pytest.mark.parametrize("change", [{"u": 0}, {"u": 1.5}, {"sha256": "zz"}, {"extra": "nonsense"}, {"weight": None}])
def test_a_manifest_entry_out_of_bounds_is_refused(change: dict[str, object]) -> None:
    payload = json.loads(canonical_json(RECORD.to_payload()))
    payload["manifest"][0].update(change)
    with pytest.raises(BadRecord):
        WindowRecord.from_payload(payload)


def test_a_sequence_number_that_occurs_twice_is_refused() -> None:
    twice = dataclasses.replace(RECORD, manifest=(ENTRY, dataclasses.replace(ENTRY, sample_id="f" * 32)))
    with pytest.raises(BadRecord, match="twice"):
        WindowRecord.from_payload(json.loads(canonical_json(twice.to_payload())))


def engine_metadata(*classes: tuple[str, Kind], **thresholds: float) -> EngineMetadata:
    return EngineMetadata(
        engine_id="e1",
        inspection="solar-cells",
        classes=tuple(ClassInfo(name=n, kind=k) for n, k in classes),
        thresholds=Thresholds(**thresholds),
        training_prior=(1 / len(classes),) * len(classes),
        embedding_id="m1",
    )


TWO = engine_metadata(("ok", Kind.OK), ("crack", Kind.DEFECT), unsure_low=0.4, unsure_high=0.6)


def test_engine_metadata_survives_json() -> None:
    assert EngineMetadata.from_json(TWO.to_json()) == TWO


@pytest.mark.parametrize(
    "change",
    [
        {"contract": 2},
        {"classes": []},
        {"training_prior": [1]},
        {"inspection": "../x"},
        {"thresholds": {"defect": "x"}},
    ],
)
def test_engine_metadata_that_cannot_be_used_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadEngine):
        EngineMetadata.from_json(json.dumps({**json.loads(TWO.to_json()), **change}))


def test_the_verdict_follows_probability_band_and_anomaly() -> None:
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0.9, 0.1]], np.float32)
    anomaly = np.array([0.2, 0.2, 5.0, 1.0], np.float32)
    assert decide(probabilities, anomaly, TWO) == [Verdict.OK, Verdict.UNSURE, Verdict.DEFECT, Verdict.UNSURE]


def test_with_ok_frames_alone_the_anomaly_score_decides() -> None:
    one = engine_metadata(("ok", Kind.OK))
    ones = np.ones((2, 1), np.float32)
    assert decide(ones, np.array([0.99, 1.0], np.float32), one) == [Verdict.OK, Verdict.DEFECT]
    assert defect_probability(ones, one.classes).tolist() == [0.0, 0.0]


def test_unknown_settings_are_refused_by_name() -> None:
    with pytest.raises(BadRelease, match="byte_bugdet"):
        DeviceSettings.from_json(b'{"byte_bugdet": 3}')
    assert DeviceSettings.from_json(b'{"advisory": true}').advisory
    assert DeviceSettings.from_json(DeviceSettings().to_json()) == DeviceSettings()


def test_a_channel_that_names_another_inspections_engine_is_refused() -> None:
    channel = Channel(
        inspection="solar-cells",
        channel="stable",
        engine_path=engine_target("solar-cells", "e1"),
        engine_sha256="d" * 64,
        engine_bytes=10,
        engine_id="e1",
        version="3",
        selftest_path=selftest_target("solar-cells", "e1"),
        issued_at=NOW,
    )
    assert Channel.from_json(channel.to_json()) == channel
    moved = dataclasses.replace(channel, engine_path=engine_target("other", "e1"))
    with pytest.raises(BadRelease, match="engine_path"):
        Channel.from_json(moved.to_json())


def test_a_self_test_survives_and_a_pickled_one_is_refused() -> None:
    test = SelfTest(
        frames=np.zeros((2, 4, 5, 3), np.uint8),
        probabilities=np.ones((2, 1), np.float32),
        anomaly=np.zeros(2, np.float32),
        tolerance=0.01,
    )
    assert SelfTest.unpack(test.pack()).frames.shape == (2, 4, 5, 3)
    for bad in (b"", b"PK", test.pack()[:50]):
        with pytest.raises(BadRelease):
            SelfTest.unpack(bad)
