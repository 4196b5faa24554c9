"""Erasures as the catalog keeps them; see the rules of the package."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import ErasureRow
from data.catalog.people import AuditRow
from data.users.audit_log import DONE, TERMINAL
from edge_client.contract.bucket import Bucket


class ErasureKind(str, Enum):
    """What an erasure is of."""

    PART = "part"  # everything about a part
    SAMPLE = "sample"  # single frames
    PERSON = "person"  # the name of somebody who labels, decides or signs in
    EXPIRED = "expired"  # frames that policy does not keep any longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """One erasure.

    Attributes:
        pseudonym: What stands where the name or the part's id stood; "" where nothing does.
        subject: What it is about; empty once it is done.
        delete_next: Objects of the bucket that nothing refers to any more.
        counts: What went, by kind of thing.
    """

    id: int
    kind: ErasureKind
    who: str
    at: datetime
    pseudonym: str
    subject: Mapping[str, Any]
    delete_next: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    done_at: datetime | None = None


def new_pseudonym(prefix: str) -> str:
    """A name that says nothing: drawn, not derived, so that nobody can go back by trying names."""
    return f"{prefix}-{secrets.token_hex(6)}"


def begin(
    catalog: Catalog, kind: ErasureKind, *, who: str, at: datetime, pseudonym: str, subject: Mapping[str, Any]
) -> Erasure:
    """Note an erasure before anything is erased; one of the same subject that is under way is returned instead."""
    for known in under_way(catalog):
        if known.kind is kind and dict(known.subject) == dict(subject):
            return known
    with catalog.session() as session:
        row = ErasureRow(
            kind=kind.value, who=who, at=at, pseudonym=pseudonym, subject=dict(subject), delete_next=[], counts={}
        )
        session.add(row)
        session.flush()
        return _erasure(row)


def under_way(catalog: Catalog) -> list[Erasure]:
    """Erasures that were begun and are not done, oldest first."""
    with catalog.reading() as session:
        query = select(ErasureRow).where(ErasureRow.done_at.is_(None)).order_by(ErasureRow.id)
        return [_erasure(row) for row in session.scalars(query)]


def list_erasures(catalog: Catalog, limit: int = 100) -> list[Erasure]:
    """Erasures, the newest first."""
    with catalog.reading() as session:
        query = select(ErasureRow).order_by(ErasureRow.id.desc()).limit(limit)
        return [_erasure(row) for row in session.scalars(query)]


def note(session: Session, erasure: Erasure, counts: Mapping[str, int], *, delete_next: Sequence[str] = ()) -> None:
    """Add objects to be deleted and counts, in the transaction that makes both true."""
    row = session.get_one(ErasureRow, erasure.id)
    row.delete_next = [*row.delete_next, *(key for key in delete_next if key not in row.delete_next)]
    row.counts = dict(Counter(row.counts) + Counter(dict(counts)))


def sweep(catalog: Catalog, bucket: Bucket, erasure: Erasure) -> None:
    """Delete what nothing refers to any more (rule 3)."""
    with catalog.reading() as session:
        keys = list(session.get_one(ErasureRow, erasure.id).delete_next)
    if not keys:
        return
    for key in keys:
        bucket.delete(key)
    with catalog.session() as session:
        row = session.get_one(ErasureRow, erasure.id)
        row.delete_next = [key for key in row.delete_next if key not in keys]


def finish(catalog: Catalog, erasure: Erasure, *, at: datetime) -> Erasure:
    """Forget what it was about (rule 2), note it in the audit log, and let no page of the database's file keep it."""
    with catalog.session() as session:
        row = session.get_one(ErasureRow, erasure.id)
        if row.done_at is None:
            row.subject, row.delete_next, row.done_at = {}, [], at
            session.add(
                AuditRow(
                    at=at, who=row.who, role="", what=f"erase.{row.kind}", about=f"erasure {row.id}", outcome=DONE,
                    address=TERMINAL, detail="", facts=dict(row.counts),
                )
            )  # fmt: skip
        done = _erasure(row)
    overwrite_what_is_free(catalog)
    return done


def overwrite_what_is_free(catalog: Catalog) -> None:
    """SQLite leaves deleted values in free pages and in its log: rewrite the file, empty the log.

    PostgreSQL's own vacuum does as much in its time.
    """
    if catalog.engine.dialect.name != "sqlite":
        return
    raw = catalog.engine.raw_connection()
    try:
        raw.cursor().execute("VACUUM")
        raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        raw.close()


def _erasure(row: ErasureRow) -> Erasure:
    return Erasure(
        id=row.id,
        kind=ErasureKind(row.kind),
        who=row.who,
        at=row.at,
        pseudonym=row.pseudonym,
        subject=dict(row.subject),
        delete_next=tuple(row.delete_next),
        counts=dict(row.counts),
        done_at=row.done_at,
    )
