"""Reading a backup back: is every object and file in it what it was?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import BucketError, NotFound
from infra.backup.manifest import Manifest, StoredObject
from infra.backup.objects import MOST_OBJECT_BYTES, Report
from infra.backup.sealing import check_file
from infra.backup.store import BackupError, object_key

if TYPE_CHECKING:
    import pyrage

_THREADS = 4
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found.

    Attributes:
        faults: What is missing or was changed, by name.
        opened: Whether sealed files were opened too, or only their digests looked at.
    """

    objects: int
    files: int
    bytes: int
    faults: tuple[str, ...]
    opened: bool


def verify_backup(
    store: Bucket,
    manifest: Manifest,
    *,
    identity: pyrage.x25519.Identity | None = None,
    report: Report = lambda _: None,
) -> Verified:
    """Read everything of a backup."""
    faults: list[str] = []
    read = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for number, batch in enumerate(_batches(manifest.objects)):
            for item, fault in zip(batch, pool.map(lambda item: _fault_of(store, item), batch), strict=True):
                read += item.bytes
                if fault is not None:
                    faults.append(fault)
            if number % 16 == 15:
                report(f"{(number + 1) * _BATCH} of {len(manifest.objects)} objects read")
    for file in manifest.files:
        read += file.bytes
        try:
            check_file(store, file, identity)
        except BackupError as error:
            faults.append(str(error))
    return Verified(
        objects=len(manifest.objects),
        files=len(manifest.files),
        bytes=read,
        faults=tuple(faults),
        opened=identity is not None,
    )


def read_object(store: Bucket, item: StoredObject) -> bytes:
    """The content of an object of a backup.

    Raises:
        BackupError: It is missing or was changed; the message names it.
    """
    where = object_key(item.sha256)
    try:
        data = store.get(where, max_bytes=max(item.bytes, 1))
    except NotFound:
        raise BackupError(f"{item.key}: its content, {where}, is missing from the backup") from None
    except BucketError:
        info = store.head(where)
        if info is None or info.bytes <= min(item.bytes, MOST_OBJECT_BYTES):
            raise
        data = b""
    found = hashlib.sha256(data).hexdigest()
    if found != item.sha256:
        raise BackupError(
            f"{item.key}: its content, {where}, was changed: it has {len(data)} bytes with SHA-256 {found[:16]}…, "
            "expected "
            f"{item.bytes} bytes with {item.sha256[:16]}…"
        )
    return data


def _fault_of(store: Bucket, item: StoredObject) -> str | None:
    try:
        read_object(store, item)
    except BackupError as error:
        return str(error)
    return None


def _batches(objects: tuple[StoredObject, ...]) -> Iterator[list[StoredObject]]:
    items = iter(objects)
    while batch := list(islice(items, _BATCH)):
        yield batch
