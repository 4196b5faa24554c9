"""An ingest in a process of its own that ends itself with SIGKILL at a chosen point."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.ingest import ingest_inbox
from data.lake import Lake
from edge_client.contract.bucket import Bucket, DirectoryBucket, S3Bucket, S3Settings


@dataclass(frozen=True)
class Place:
    """Where everything is; can be sent to another process."""

    catalog_url: str
    bucket: Path | S3Settings
    cache: Path
    identity: str

    def with_catalog(self, catalog: Catalog) -> Place:
        """The same, with the catalog where it really is."""
        return replace(self, catalog_url=catalog.engine.url.render_as_string(hide_password=False))

    def open_bucket(self) -> Bucket:
        if isinstance(self.bucket, S3Settings):
            return S3Bucket.connect(self.bucket)
        return DirectoryBucket(self.bucket)


class Fuse:
    """Ends the process at the n-th point it passes, and notes which one that was."""

    def __init__(self, at: int, note: Path) -> None:
        self._left, self._note = at, note

    def point(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            self._note.write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)


class FusedBucket:
    """A bucket with a point before and after every call."""

    def __init__(self, inner: Bucket, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        def call(key: str, *args: Any, **kwargs: Any) -> Any:
            self._fuse.point(f"before {name} {key}")
            answer = getattr(self._inner, name)(key, *args, **kwargs)
            if name == "list":
                answer = list(answer)
            self._fuse.point(f"after {name} {key}")
            return answer

        return call


def ingest_until(place: Place, at: int, note: Path, workers: int = 1) -> None:
    """Ingest, killed at point `at`; returns only if there are fewer points."""
    fuse = Fuse(at, note)
    catalog = Catalog.open(place.catalog_url)
    event.listen(catalog.engine, "commit", lambda _: fuse.point("before commit"))
    event.listen(Session, "after_commit", lambda _: fuse.point("after commit"))
    bucket: Any = FusedBucket(place.open_bucket(), fuse)
    lake = Lake(bucket, place.cache)
    report = ingest_inbox(catalog, bucket, lake, place.identity, missing_grace_seconds=0, workers=workers)
    note.write_text(f"finished {report.windows} {report.duplicates} {report.deferred}")
