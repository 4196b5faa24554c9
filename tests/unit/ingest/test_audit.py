from __future__ import annotations

from dataclasses import replace

import pytest

from data.audit import LedgerEntry, LedgerState, audit, parse_ledger
from edge_client.contract.errors import AndonError
from edge_client.contract.names import shard_key
from tests.unit.ingest.conftest import Cloud
from tests.unit.ingest.uploads import Upload, put


def ledger(*uploads: Upload) -> list[LedgerEntry]:
    return [
        LedgerEntry(sample_id=i, state=LedgerState.UPLOADED, epoch=u.record.epoch, window=u.record.window)
        for u in uploads
        for i in u.sample_ids
    ]


def entry(sample_id: str, state: LedgerState) -> LedgerEntry:
    return LedgerEntry(sample_id=sample_id, state=state, epoch=1, window=9)


def test_a_loop_that_lost_nothing_is_clean(cloud: Cloud) -> None:
    first, waiting = cloud.line.window(1), cloud.line.window(2)
    put(cloud.bucket, first)
    cloud.ingest()
    put(cloud.bucket, waiting)
    entries = [*ledger(first, waiting), entry("a" * 32, LedgerState.KEPT), entry("b" * 32, LedgerState.EVICTED)]
    result = audit(cloud.catalog, {"line-1": entries}, bucket=cloud.bucket)
    assert result.clean
    figures = (result.acknowledged, result.in_catalog, result.waiting, result.kept, result.evicted)
    assert figures == (10, 4, 4, 1, 1)


def test_a_sample_that_was_acknowledged_and_is_nowhere_is_lost(cloud: Cloud) -> None:
    upload = cloud.line.window(1)
    put(cloud.bucket, upload)
    cloud.ingest()
    entries = [*ledger(upload), entry("c" * 32, LedgerState.UPLOADED), entry("d" * 32, LedgerState.DAMAGED)]
    assert audit(cloud.catalog, {"line-1": entries}, bucket=cloud.bucket).lost == ("c" * 32, "d" * 32)


def test_a_quarantined_sample_is_not_lost(cloud: Cloud) -> None:
    upload = cloud.line.window(1)
    put(cloud.bucket, replace(upload, document=upload.record.sign(cloud.other.key)))
    other = cloud.other.window(1)
    put(cloud.bucket, other)
    cloud.bucket.put(shard_key("line-2", 1, 1, 0), b"x" * len(other.shards[0]))
    cloud.ingest()
    result = audit(cloud.catalog, {"line-1": ledger(upload), "line-2": ledger(other)}, bucket=cloud.bucket)
    assert result.clean
    assert len(result.quarantined) == 6
    assert result.in_catalog == 2


def test_one_capture_under_two_ids_is_double(cloud: Cloud) -> None:
    twin = cloud.line.blob(1000)
    first = cloud.line.window(1, samples=1)
    second = cloud.line.window(
        2, samples=1, change=lambda b: replace(b, image=twin.image, captured_at=twin.captured_at)
    )
    for upload in (first, second):
        put(cloud.bucket, upload)
    cloud.ingest()
    assert len(audit(cloud.catalog, {"line-1": ledger(first, second)}).double) == 1
    assert audit(cloud.catalog, {"line-1": [*ledger(first, second), *ledger(first)]}).double


def test_a_sample_that_no_ledger_names_is_shown(cloud: Cloud) -> None:
    upload = cloud.line.window(1)
    put(cloud.bucket, upload)
    cloud.ingest()
    result = audit(cloud.catalog, {"line-1": ledger(upload)[1:]})
    assert result.unacknowledged == upload.sample_ids[:1]
    assert not result.clean


def test_a_ledger_is_read_as_the_device_writes_it() -> None:
    line = {"sample_id": "a" * 32, "state": "kept", "epoch": 1, "window": 2}
    assert parse_ledger([line]) == [LedgerEntry(sample_id="a" * 32, state=LedgerState.KEPT, epoch=1, window=2)]
    assert parse_ledger([{**line, "extra": "events", "state": "uploaded"}]) == []
    with pytest.raises(AndonError, match="cannot be read"):
        parse_ledger([{**line, "state": "gone"}])
