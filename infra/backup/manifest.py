"""The manifest of a backup: every object and file in it with its digest. Written last, never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import NotFound
from infra.backup.sealing import SealedFile
from infra.backup.store import BACKUPS, BackupError, manifest_key

FORMAT = 1
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object of the bucket.

    Attributes:
        tag: The bucket's tag of it (or its time), by which an unchanged one is recognised.
    """

    key: str
    bytes: int
    sha256: str
    tag: str = ""

    def to_json(self) -> list[Any]:
        """For the manifest: short, since there are many."""
        return [self.key, self.bytes, self.sha256, self.tag]

    @staticmethod
    def from_json(value: Sequence[Any]) -> StoredObject:
        """Read back.

        Raises:
            ValueError, TypeError: It is none.
        """
        key, size, sha256, tag = value
        return StoredObject(key=str(key), bytes=int(size), sha256=str(sha256), tag=str(tag))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One backup.

    Attributes:
        id: Its name: when it was begun, in UTC.
        at: When the databases were copied: what came later may not be in it.
        version: Of Andon that took it.
        objects: Of the bucket, by key.
        files: Of the home directory, sealed.
        facts: Counts for people, and what was found.
    """

    id: str
    at: datetime
    version: str
    objects: tuple[StoredObject, ...]
    files: tuple[SealedFile, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """Of everything in it, as it was."""
        return sum(o.bytes for o in self.objects) + sum(f.bytes for f in self.files)

    def file(self, name: str) -> SealedFile | None:
        """One of the sealed files."""
        return next((file for file in self.files if file.name == name), None)

    def to_bytes(self) -> bytes:
        """The document."""
        head = {
            "format": FORMAT,
            "id": self.id,
            "at": self.at.astimezone(UTC).isoformat(),
            "version": self.version,
            "facts": dict(self.facts),
            "files": [file.to_json() for file in self.files],
        }
        lines = ",\n".join(json.dumps(item.to_json(), ensure_ascii=False) for item in self.objects)
        return f'{json.dumps(head, ensure_ascii=False)[:-1]}, "objects": [\n{lines}\n]}}\n'.encode()

    @staticmethod
    def from_bytes(data: bytes, where: str) -> Manifest:
        """Read it.

        Raises:
            BackupError: It is not one.
        """
        try:
            document = json.loads(data)
            if document["format"] != FORMAT:
                raise BackupError(
                    f"{where} has format {document['format']!r}, this version reads {FORMAT}: use the version of Andon "
                    "that wrote it"
                )
            return Manifest(
                id=str(document["id"]),
                at=datetime.fromisoformat(document["at"]),
                version=str(document["version"]),
                objects=tuple(StoredObject.from_json(item) for item in document["objects"]),
                files=tuple(SealedFile.from_json(item) for item in document["files"]),
                facts=dict(document["facts"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BackupError(f"{where} is damaged ({error!r}): choose another backup with --id") from error


def backup_ids(store: Bucket) -> list[str]:
    """The finished backups, oldest first."""
    return sorted(info.key.split("/")[1] for info in store.list(BACKUPS) if info.key.endswith("/manifest.json"))


def write_manifest(store: Bucket, manifest: Manifest) -> str:
    """Store it; return its digest."""
    data = manifest.to_bytes()
    store.put(manifest_key(manifest.id), data, content_type="application/json")
    return hashlib.sha256(data).hexdigest()


def read_manifest(store: Bucket, backup_id: str | None = None, *, digest: str | None = None) -> Manifest:
    """Read a backup's manifest; the newest one's by default.

    Raises:
        BackupError: There is none, it is damaged, or its digest is not the one that is expected.
    """
    known = backup_ids(store)
    if not known:
        raise BackupError("there is no finished backup in this place")
    chosen = backup_id or known[-1]
    key = manifest_key(chosen)
    try:
        data = store.get(key, max_bytes=_MOST_BYTES)
    except NotFound:
        raise BackupError(f"there is no backup {chosen!r}: known are {', '.join(known[-5:])}") from None
    found = hashlib.sha256(data).hexdigest()
    if digest is not None and found != digest:
        raise BackupError(f"{key} was changed: its digest is {found}, expected {digest}")
    return Manifest.from_bytes(data, key)
