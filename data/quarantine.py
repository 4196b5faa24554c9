"""Quarantine: what came from outside and is not acceptable is kept, with the reason, out of everything else's way.

1. The bytes are copied to `lake/quarantine/<the inbox key>` (one member of a shard: `lake/quarantine/members/…`), then
   the row is committed, then the inbox object is deleted: never the other way round. An object too large to be
   copied stays where it is.
2. One row per (key, member). Doing it again changes nothing but the reason.
3. A row of kind `window` stands for the window's record and all its shards. While it stands, objects that turn up
   under that window (a device's retry, the rest of an interrupted move) follow it.
4. `restore` puts a window back into the inbox, for example after its device was enrolled; its row stays, with the kind
   `restored`. Copies are deleted last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import QuarantineRow
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError, NotFound

PREFIX = "lake/quarantine/"
MOST_COPIED_BYTES = 512 << 20
_LONGEST_REASON = 2000


class QuarantineError(AndonError):
    """A quarantined thing cannot be restored."""


class Kind(str, Enum):
    """What a row stands for."""

    WINDOW = "window"  # a record with all its shards
    SHARD = "shard"  # one tar; its window was ingested without it
    SAMPLE = "sample"  # one member of a shard
    HEARTBEAT = "heartbeat"  # a status that was not believed; nothing is moved
    RESTORED = "restored"  # a window that was put back into the inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """One bad thing.

    Attributes:
        key: its key in the inbox (of the record, for a window).
        member: name inside the shard, "" for a whole object.
        device: as the key claims; not proven.
        moved_to: where its bytes are now; None if they were left, or were never there.
    """

    kind: Kind
    key: str
    reason: str
    member: str = ""
    device: str | None = None
    inspection: str | None = None
    sample_id: str | None = None
    moved_to: str | None = None
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What `copy_objects` did.

    Attributes:
        done: keys that may now be deleted: copied, or gone already.
        targets: where the copies are.
        bytes: copied.
    """

    done: tuple[str, ...]
    targets: tuple[str, ...]
    bytes: int


def keep_bytes(bucket: Bucket, key: str, member: str, data: bytes) -> str:
    """Store the bytes of a bad object or member; where they are now. Other bytes kept before are not replaced."""
    target = f"{PREFIX}members/{key}/{member}" if member else f"{PREFIX}{key}"
    info = bucket.head(target)
    if info is not None:
        if info.bytes == len(data) and bucket.get(target, max_bytes=len(data)) == data:
            return target
        target = f"{PREFIX}variants/{hashlib.sha256(data).hexdigest()[:16]}/{target.removeprefix(PREFIX)}"
    bucket.put(target, data)
    return target


def copy_objects(bucket: Bucket, keys: Iterable[str]) -> Copied:
    """Copy inbox objects to the quarantine, one at a time in memory."""
    done, targets, size = [], [], 0
    for key in keys:
        info = bucket.head(key)
        if info is not None and info.bytes > MOST_COPIED_BYTES:
            continue  # rule 1: stays in the inbox
        done.append(key)
        try:
            data = bucket.get(key, max_bytes=MOST_COPIED_BYTES) if info is not None else None
        except NotFound:
            data = None
        if data is not None:
            targets.append(keep_bytes(bucket, key, "", data))
            size += len(data)
    return Copied(done=tuple(done), targets=tuple(targets), bytes=size)


def record_quarantined(session: Session, item: Quarantined, *, at: datetime) -> None:
    """Note one bad thing, inside a transaction of the caller's. Idempotent."""
    row = session.scalars(
        select(QuarantineRow).where(QuarantineRow.key == item.key[:512], QuarantineRow.member == item.member[:256])
    ).first()
    if row is None:
        row = QuarantineRow(key=item.key[:512], member=item.member[:256], at=at, bytes=item.bytes)
        session.add(row)
    row.kind, row.reason = item.kind.value, clean_text(item.reason)[:_LONGEST_REASON]
    row.device, row.inspection, row.sample_id = item.device, item.inspection, item.sample_id
    row.moved_to = item.moved_to or row.moved_to
    row.bytes = max(row.bytes, item.bytes)
    session.flush()


def quarantined_window(catalog: Catalog, record_key: str) -> bool:
    """Whether this window is in quarantine as a whole (and was not restored)."""
    with catalog.reading() as session:
        query = select(QuarantineRow.id).where(
            QuarantineRow.key == record_key, QuarantineRow.member == "", QuarantineRow.kind == Kind.WINDOW.value
        )
        return session.scalars(query).first() is not None


def quarantined_windows(session: Session, record_keys: Sequence[str]) -> set[str]:
    """Those of some windows that are in quarantine as a whole."""
    query = select(QuarantineRow.key).where(
        QuarantineRow.key.in_(record_keys), QuarantineRow.member == "", QuarantineRow.kind == Kind.WINDOW.value
    )
    return set(session.scalars(query))


def list_quarantine(catalog: Catalog, *, device: str | None = None, most: int = 1000) -> list[Quarantined]:
    """What is in quarantine, newest first."""
    with catalog.reading() as session:
        query = select(QuarantineRow).where(QuarantineRow.kind != Kind.RESTORED.value)
        if device is not None:
            query = query.where(QuarantineRow.device == device)
        rows = session.scalars(query.order_by(QuarantineRow.at.desc(), QuarantineRow.id.desc()).limit(most))
        return [
            Quarantined(
                kind=Kind(row.kind),
                key=row.key,
                member=row.member,
                device=row.device,
                inspection=row.inspection,
                sample_id=row.sample_id,
                reason=row.reason,
                moved_to=row.moved_to,
                bytes=row.bytes,
            )
            for row in rows
        ]


def restore_window(catalog: Catalog, bucket: Bucket, record_key: str) -> int:
    """Put a quarantined window back into the inbox for the next ingest; how many objects.

    Safe to repeat after an interruption.

    Raises:
        QuarantineError: no such window in quarantine.
    """
    prefix = f"{PREFIX}{record_key.rpartition('/')[0]}/"
    copies = [info.key for info in bucket.list(prefix)]
    record_copy = f"{PREFIX}{record_key}"
    if record_copy not in copies:
        raise QuarantineError(f"{record_key}: no such window in quarantine; `andon status` lists what is there")
    copies.sort(key=lambda key: key == record_copy)  # the record last: it makes the window count
    for copy in copies:
        data = bucket.get(copy, max_bytes=MOST_COPIED_BYTES)
        if copy == record_copy:
            with catalog.session() as session:
                query = select(QuarantineRow).where(QuarantineRow.key == record_key, QuarantineRow.member == "")
                for row in session.scalars(query):
                    row.kind = Kind.RESTORED.value
        bucket.put(copy.removeprefix(PREFIX), data)
    for copy in copies:
        bucket.delete(copy)
    return len(copies)


def clean_text(text: str) -> str:
    """Text that every database takes: no NUL, no lone surrogate."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
