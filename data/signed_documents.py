"""Versions of the documents that were signed for devices: what, who, when and why. Append-only.

A version is recorded in the transaction in which it is signed: with two people at once, one of them finds that the
version is taken, and begins again on what the other signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import SignedDocumentRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedVersion:
    """One version of one document.

    Attributes:
        path: Its TUF target path.
        content: As it was signed.
        action: What was done: ``set``, ``rollback to 3``, ….
    """

    path: str
    version: int
    content: str
    action: str
    who: str
    at: datetime
    why: str


def record_version(session: Session, version: SignedVersion) -> None:
    """Record a version, which must be new.

    Raises:
        sqlalchemy.exc.IntegrityError: Somebody else recorded that version.
    """
    session.add(
        SignedDocumentRow(
            path=version.path,
            version=version.version,
            content=version.content,
            action=version.action,
            who=version.who,
            at=version.at,
            why=version.why,
        )
    )
    session.flush()


def last_version(session: Session, path: str) -> int:
    """The newest recorded version of a document; 0 before the first."""
    return session.scalar(select(func.max(SignedDocumentRow.version)).where(SignedDocumentRow.path == path)) or 0


def versions_of(catalog: Catalog, path: str, *, limit: int | None = None) -> list[SignedVersion]:
    """The recorded versions of a document, newest first."""
    with catalog.reading() as session:
        query = (
            select(SignedDocumentRow)
            .where(SignedDocumentRow.path == path)
            .order_by(SignedDocumentRow.version.desc())
            .limit(limit)
        )
        return [_version(row) for row in session.scalars(query)]


def version_of(catalog: Catalog, path: str, version: int) -> SignedVersion | None:
    """One recorded version of a document."""
    with catalog.reading() as session:
        row = session.get(SignedDocumentRow, (path, version))
        return None if row is None else _version(row)


def recorded_paths(catalog: Catalog, suffix: str) -> Sequence[str]:
    """Paths of the documents of a kind that were ever signed, by its suffix, such as ``.layers``."""
    with catalog.reading() as session:
        query = select(SignedDocumentRow.path).where(SignedDocumentRow.path.endswith(suffix, autoescape=True))
        return sorted(set(session.scalars(query)))


def _version(row: SignedDocumentRow) -> SignedVersion:
    return SignedVersion(
        path=row.path,
        version=row.version,
        content=row.content,
        action=row.action,
        who=row.who,
        at=row.at,
        why=row.why,
    )
