"""Ingest with two workers, killed with SIGKILL in the middle of both, then run again: lost 0, double 0."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import pytest
from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.ingest import ingest_inbox
from data.lake import Lake
from edge_client.contract.sealing import generate_identity, load_identity, recipient_of
from tests.integration.ingest.killed_child import Place, ingest_until
from tests.unit.ingest.uploads import Uploader, put, set_up

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.integration.ingest.killed_child"])


@pytest.mark.parametrize("point", [14, 25, 37, 46])
def test_nothing_is_lost_or_doubled_when_two_workers_are_killed(tmp_path: Path, point: int) -> None:
    generate_identity(tmp_path / "recipient.age")
    identity = load_identity(tmp_path / "recipient.age")
    place = Place(f"sqlite:///{tmp_path}/catalog.db", tmp_path / "bucket", tmp_path / "cache", identity)
    catalog, bucket = Catalog.open(place.catalog_url), place.open_bucket()
    devices = [Uploader(f"line-{i}", recipient_of(identity)) for i in range(4)]
    set_up(catalog, *devices)
    sent: set[str] = set()
    for number in range(2):
        for device in devices:
            upload = device.window(number, samples=2, shards=1)
            put(bucket, upload)
            sent.update(upload.sample_ids)
    note = tmp_path / "note"
    child = _PROCESSES.Process(target=ingest_until, args=(place.with_catalog(catalog), point, note, 2))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL, note.read_text()
    lake = Lake(bucket, place.cache)
    assert ingest_inbox(catalog, bucket, lake, identity, missing_grace_seconds=0, workers=2).deferred == []
    assert list(bucket.list("inbox/")) == []
    with catalog.reading() as session:
        rows = list(session.scalars(select(SampleRow)))
    assert sorted(row.sample_id for row in rows) == sorted(sent)
    for row in rows:
        assert lake.stored(row.lake_path, row.lake_row).sample_id == row.sample_id
    catalog.close()
