"""What makes a large catalog quick, on a real PostgreSQL: notes of what is settled, windows committed together."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.estimates import field_sample
from data.ingest import ingest_inbox
from data.labels import undo_label
from data.lake import Lake
from data.queue import draw, next_to_label, queue_size
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.sealing import generate_identity, load_identity, recipient_of
from tests.integration.data.postgres import Postgres
from tests.unit.data.captured_line import INSPECTION, T0, Line, new_catalog
from tests.unit.ingest.uploads import Uploader, put, set_up


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
def line(url: str) -> Iterator[Line]:
    catalog = new_catalog(url)
    yield Line(catalog, np.random.default_rng(7))
    catalog.close()


def test_what_was_labelled_leaves_the_queue_and_an_undo_brings_it_back(line: Line) -> None:
    line.stream(["ok"] * 12, np.linspace(0.1, 1, 12), keep=8)
    drawn = list(draw(line.catalog, INSPECTION, 6, random=random.Random(1), at=T0).sample_ids)

    def shown(second: int) -> list[str]:
        at = T0 + timedelta(seconds=second)
        return [item.sample_id for item in next_to_label(line.catalog, INSPECTION, "ann", at=at, lease_seconds=1)]

    assert shown(0) == drawn
    for sample_id in drawn[:4]:
        line.label(sample_id)
    for second in (10, 20):  # settled, then noted as settled
        assert shown(second) == drawn[4:]
    assert queue_size(line.catalog, INSPECTION).waiting == 2
    undo_label(line.catalog, event_id="u", who="ann", at=T0)
    assert shown(30) == drawn[3:]
    assert queue_size(line.catalog, INSPECTION).waiting == 3
    assert len(field_sample(line.catalog, INSPECTION).samples) == 3


def test_windows_are_taken_over_together_by_two_workers(url: str, tmp_path: Path) -> None:
    generate_identity(tmp_path / "recipient.age")
    identity = load_identity(tmp_path / "recipient.age")
    devices = [Uploader(f"line-{i}", recipient_of(identity)) for i in range(2)]
    catalog, bucket = Catalog.open(url), DirectoryBucket(tmp_path / "bucket")
    set_up(catalog, *devices)
    for number in range(20):
        for device in devices:
            put(bucket, device.window(number, samples=2, shards=1))
    report = ingest_inbox(catalog, bucket, Lake(bucket, tmp_path / "cache"), identity, workers=2)
    assert (report.windows, report.samples, report.deferred, report.quarantined) == (40, 80, [], [])
    assert list(bucket.list("inbox/")) == []
    with catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(SampleRow)) == 80
    catalog.close()
