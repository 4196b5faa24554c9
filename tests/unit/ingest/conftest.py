from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from data.catalog import Catalog
from data.decode import ImageChecker
from data.ingest import IngestReport, ingest_inbox
from data.lake import Lake
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.sealing import generate_identity, load_identity
from tests.unit.ingest.uploads import NOW, Uploader, set_up


@dataclass
class Cloud:
    """A catalog, a bucket and a lake, with two enrolled devices."""

    catalog: Catalog
    bucket: DirectoryBucket
    lake: Lake
    identity: str
    checker: ImageChecker
    line: Uploader
    other: Uploader

    def ingest(self, *, at: datetime = NOW, grace: float = 0.0, **options: object) -> IngestReport:
        return ingest_inbox(
            self.catalog,
            self.bucket,
            self.lake,
            self.identity,
            lambda: at,
            checker=self.checker,
            missing_grace_seconds=grace,
            **options,  # type: ignore[arg-type]
        )

    def inbox(self) -> list[str]:
        return [info.key for info in self.bucket.list("inbox/")]


@pytest.fixture(scope="session")
def checker() -> Iterator[ImageChecker]:
    with ImageChecker() as checker:
        yield checker


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database to copy: migrating takes half a second."""
    path = tmp_path_factory.mktemp("catalog") / "catalog.db"
    Catalog.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def cloud(tmp_path: Path, checker: ImageChecker, empty_catalog: Path) -> Iterator[Cloud]:
    recipient = generate_identity(tmp_path / "recipient.age")
    shutil.copy(empty_catalog, tmp_path / "catalog.db")
    catalog = Catalog.open(f"sqlite:///{tmp_path}/catalog.db")
    bucket = DirectoryBucket(tmp_path / "bucket")
    line, other = Uploader("line-1", recipient), Uploader("line-2", recipient)
    set_up(catalog, line, other)
    identity = load_identity(tmp_path / "recipient.age")
    yield Cloud(catalog, bucket, Lake(bucket, tmp_path / "cache"), identity, checker, line, other)
    catalog.close()
