from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from data.devices import device_statuses, revoke_device
from data.ingest import ingest_heartbeats
from data.quarantine import Kind, list_quarantine
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.names import status_key
from tests.unit.ingest.conftest import Cloud
from tests.unit.ingest.uploads import INSPECTION, NOW


def beat(device: str, sequence: int = 1) -> Heartbeat:
    return Heartbeat(
        device=device, site="site-1", station="station-1", sequence=sequence, sent_at=NOW, client_version="0.1.0",
        inspection=INSPECTION, channel="stable", engine_id="engine-1", engine_sha256="0" * 64, slot="a", health="ok",
        frames=10, requests_lost=0, latency_ms_p50=3.0, latency_ms_p99=9.0, class_counts={"ok": 10}, anomaly_mean=0.1,
    )  # fmt: skip


def test_a_signed_heartbeat_becomes_the_devices_status(cloud: Cloud) -> None:
    cloud.bucket.put(status_key("line-1"), beat("line-1").sign(cloud.line.key))
    assert ingest_heartbeats(cloud.catalog, cloud.bucket, lambda: NOW).new == ["line-1"]
    again = ingest_heartbeats(cloud.catalog, cloud.bucket, lambda: NOW)
    assert (again.new, again.stale, again.unchanged) == ([], [], 1)
    assert device_statuses(cloud.catalog)["line-1"].heartbeat == beat("line-1")


def test_a_replayed_heartbeat_changes_nothing(cloud: Cloud) -> None:
    for sequence in (5, 4):
        cloud.bucket.put(status_key("line-1"), beat("line-1", sequence).sign(cloud.line.key))
        ingest_heartbeats(cloud.catalog, cloud.bucket, lambda: NOW)
    assert device_statuses(cloud.catalog)["line-1"].heartbeat.sequence == 5


def _tampered(cloud: Cloud) -> bytes:
    return beat("line-1").sign(cloud.line.key).replace(b'"frames":10', b'"frames":11')


BAD: dict[str, tuple[Any, str]] = {
    "tampered": (_tampered, "not signed by the key"),
    "signed by another device": (lambda cloud: beat("line-1").sign(cloud.other.key), "not signed by the key"),
    "of another device": (lambda cloud: beat("line-2").sign(cloud.line.key), "in the place of"),
    "not JSON": (lambda _: b"\xff\xfe", "not a signed heartbeat"),
    "a window record": (lambda cloud: cloud.line.window(1).document, "not signed by the key"),
    "huge": (lambda _: b" " * (2 << 20), "at most"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_heartbeat_is_noted_and_holds_nobody_up(cloud: Cloud, name: str) -> None:
    make, words = BAD[name]
    cloud.bucket.put(status_key("line-1"), make(cloud))
    cloud.bucket.put(status_key("line-2"), beat("line-2").sign(cloud.other.key))
    report = ingest_heartbeats(cloud.catalog, cloud.bucket, lambda: NOW)
    assert words in report.rejected[0][1]
    assert ingest_heartbeats(cloud.catalog, cloud.bucket, lambda: NOW).unchanged == 2
    assert set(device_statuses(cloud.catalog)) == {"line-2"}
    (item,) = list_quarantine(cloud.catalog)
    assert item.kind is Kind.HEARTBEAT
    assert item.key == status_key("line-1")


def test_heartbeats_of_unknown_and_revoked_devices_are_noted(cloud: Cloud) -> None:
    revoke_device(cloud.catalog, "line-1", at=NOW)
    cloud.bucket.put(status_key("line-1"), beat("line-1").sign(cloud.line.key))
    cloud.bucket.put(status_key("line-9"), replace(beat("line-9")).sign(cloud.line.key))
    cloud.bucket.put("fleet/UPPER/status.json", b"{}")
    reasons = dict(ingest_heartbeats(cloud.catalog, cloud.bucket, lambda: NOW).rejected)
    assert "revoked" in reasons[status_key("line-1")]
    assert "not registered" in reasons[status_key("line-9")]
    assert "not allowed" in reasons["fleet/UPPER/status.json"]
