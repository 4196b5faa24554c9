"""Ingest, killed with SIGKILL at every point where it touches the world, then run again: lost 0, double 0."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from data.audit import LedgerEntry, LedgerState, audit
from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.decode import ImageChecker
from data.ingest import ingest_inbox
from data.lake import Lake
from edge_client.contract.sealing import generate_identity, load_identity, recipient_of
from tests.integration.ingest.killed_child import Place, ingest_until
from tests.integration.ingest.seaweed import seaweed
from tests.unit.ingest.uploads import Uploader, put, set_up

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.integration.ingest.killed_child"])


@pytest.fixture(params=["a folder", "SeaweedFS"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    generate_identity(tmp_path / "recipient.age")
    identity = load_identity(tmp_path / "recipient.age")
    url = f"sqlite:///{tmp_path}/catalog.db"
    if request.param == "a folder":
        yield Place(url, tmp_path / "bucket", tmp_path / "cache", identity)
        return
    with seaweed(tmp_path / "weed", "andon") as settings:
        yield Place(url, settings, tmp_path / "cache", identity)


def test_nothing_is_lost_or_doubled_wherever_ingest_is_killed(place: Place, tmp_path: Path) -> None:
    device = Uploader("line-1", recipient_of(place.identity))
    catalog, bucket = Catalog.open(place.catalog_url), place.open_bucket()
    set_up(catalog, device)
    lake = Lake(bucket, place.cache)
    step = 1 if isinstance(place.bucket, Path) else 4  # the points are the same; the server is slower
    ledger: list[LedgerEntry] = []
    bad: set[str] = set()
    points: list[str] = []
    with ImageChecker() as checker:
        for point in range(1, 200, step):
            broken = device.blob(point * 1000).sample_id
            upload = device.window(
                point,
                samples=2,
                shards=1,
                change=lambda b, broken=broken: replace(b, image=b.image[:60]) if b.sample_id == broken else b,
            )
            put(bucket, upload)
            bucket.put(f"inbox/line-1/000001-{point:08d}/9.tar", b"stray")
            bad.add(broken)
            ledger += [
                LedgerEntry(sample_id=i, state=LedgerState.UPLOADED, epoch=1, window=point) for i in upload.sample_ids
            ]
            note = tmp_path / "note"
            child = _PROCESSES.Process(target=ingest_until, args=(place.with_catalog(catalog), point, note))
            child.start()
            child.join(60)
            points.append(note.read_text())
            assert child.exitcode in (-signal.SIGKILL, 0), points
            ingest_inbox(catalog, bucket, lake, place.identity, checker=checker, missing_grace_seconds=0)
            assert list(bucket.list("inbox/")) == [], points[-1]
            if child.exitcode == 0:
                break
    assert points[-1].startswith("finished 1 0 []")
    words = " ".join(points)
    for what in ("get", "put", "commit", "delete"):
        assert step > 1 or (f"before {what}" in words and f"after {what}" in words)
    result = audit(catalog, {"line-1": ledger}, bucket=bucket)
    assert result.clean
    assert result.acknowledged == 2 * len(points)
    assert result.in_catalog == len(points)
    assert {i for i, _ in result.quarantined} == bad
    with catalog.reading() as session:
        for row in session.scalars(select(SampleRow)):
            assert lake.stored(row.lake_path, row.lake_row).sample_id == row.sample_id
    catalog.close()
