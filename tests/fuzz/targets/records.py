"""What a device signs: the window record and the heartbeat. Mutations are signed again."""

from __future__ import annotations

import json
from functools import partial
from random import Random

from data.devices import Device
from data.ingest.plan import Rejected, WaitingWindow, believe, manifest_figures
from edge_client.contract import heartbeat, record
from edge_client.contract.bucket import ObjectInfo
from edge_client.contract.errors import BadRecord, BadSignature
from edge_client.contract.heartbeat import Heartbeat, Quarantined, Rollout
from edge_client.contract.names import record_key
from edge_client.contract.record import WindowRecord
from edge_client.contract.signing import canonical_json
from tests.fuzz import seeds
from tests.fuzz.mutations.signed import KEY, PUBLIC, mutate_signed
from tests.fuzz.mutations.values import JSON_TOKENS
from tests.fuzz.target import Target


def _device() -> Device:
    return Device(
        name=seeds.DEVICE,
        site="plant",
        station="el-1",
        public_key_hex=PUBLIC,
        inspections=((seeds.INSPECTION, "stable"),),
        registered_at=seeds.NOW,
    )


def read_record(data: bytes) -> None:
    """Verify a record, then judge it as ingest does; one that is believed has finite figures and can be written."""
    found = WindowRecord.verify(data, PUBLIC)
    assert WindowRecord.from_payload(json.loads(canonical_json(found.to_payload()))) == found
    key = record_key(seeds.DEVICE, 1, 7)
    place = WaitingWindow(
        name=(seeds.DEVICE, 1, 7), record=ObjectInfo(key=key, bytes=len(data), modified=None), others=()
    )
    figures = manifest_figures(believe(data, place, _device()))
    assert 0 <= figures.inverse_p < float("inf")


def read_heartbeat(data: bytes) -> None:
    """Verify a heartbeat."""
    found = Heartbeat.verify(data, PUBLIC)
    assert Heartbeat.from_payload(json.loads(canonical_json(found.to_payload()))) == found


def _records() -> tuple[bytes, ...]:
    return (seeds.record().sign(KEY),)


def _heartbeats() -> tuple[bytes, ...]:
    beat = Heartbeat(
        device=seeds.DEVICE,
        site="plant",
        station="el-1",
        sequence=4,
        sent_at=seeds.NOW,
        client_version="0.1.0",
        inspection=seeds.INSPECTION,
        channel="stable",
        engine_id="e1",
        engine_sha256="d" * 64,
        slot="a",
        health="degraded",
        problems=("the disk is full", "the bucket cannot be reached"),
        class_counts={"ok": 3},
        metadata_versions={"root": 1, "timestamp": 9},
        rollout=Rollout(engine_id="e1", engine_sha256="d" * 64, outcome="confirmed"),
        quarantined=(Quarantined(engine_sha256="e" * 64, reason="crashed in its trial"),),
    )
    return (beat.sign(KEY),)


def _mutate(purpose: str, data: bytes, random: Random) -> bytes:
    return mutate_signed(data, random, purpose)


RECORD = Target(
    name="record",
    read=read_record,
    refusals=(BadSignature, BadRecord, Rejected),
    seeds=_records,
    mutate=partial(_mutate, record.PURPOSE),
    tokens=JSON_TOKENS,
)
HEARTBEAT = Target(
    name="heartbeat",
    read=read_heartbeat,
    refusals=(BadSignature, BadRecord),
    seeds=_heartbeats,
    mutate=partial(_mutate, heartbeat.PURPOSE),
    tokens=JSON_TOKENS,
)
