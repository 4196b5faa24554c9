"""The audit log: who did what, when, from where, and whether it was done.

1. Entries are added and never changed (the schema refuses it); who is gone stays named.
2. What is written is bounded and holds no secret: no password, no token, no picture.
3. Labels are not in it: each label event has its own time and name already. What undoes another person's is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.people import AuditRow

DONE, REFUSED = "done", "refused"
TERMINAL = "terminal"  # the address of a command of `andon`


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the log."""

    id: int
    at: datetime
    who: str
    role: str
    what: str
    about: str
    outcome: str
    address: str
    detail: str
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "at": self.at.isoformat()}


def record(
    catalog: Catalog,
    what: str,
    *,
    who: str,
    at: datetime,
    about: str = "",
    role: str = "",
    address: str = TERMINAL,
    outcome: str = DONE,
    detail: str = "",
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Add a line.

    Args:
        catalog: The catalog.
        what: The act, such as ``rollout.hold``.
        who: In whose name.
        at: When.
        about: What it was done to.
        role: The person's role then.
        address: Where the request came from.
        outcome: Whether it was done.
        detail: In words, where there is more to say.
        facts: What was asked for.
    """
    with catalog.session() as session:
        session.add(
            AuditRow(
                at=at,
                who=who[:128],
                role=role[:16],
                what=what[:64],
                about=about[:256],
                outcome=outcome,
                address=address[:64],
                detail=detail[:2000],
                facts=dict(facts or {}),
            )
        )


def list_audit_log(
    catalog: Catalog,
    *,
    limit: int = 100,
    before: int | None = None,
    who: str | None = None,
    what: str | None = None,
    since: datetime | None = None,
) -> list[AuditEntry]:
    """Lines, the newest first.

    Args:
        catalog: The catalog.
        limit: How many.
        before: Only those with a smaller id: the next page.
        who: Only this person's.
        what: Only acts that begin so.
        since: Only from then on.
    """
    query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditRow.id < before)
    if who is not None:
        query = query.where(AuditRow.who == who)
    if what is not None:
        query = query.where(AuditRow.what.startswith(what, autoescape=True))
    if since is not None:
        query = query.where(AuditRow.at >= since)
    with catalog.reading() as session:
        return [
            AuditEntry(
                id=row.id, at=row.at, who=row.who, role=row.role, what=row.what, about=row.about, outcome=row.outcome,
                address=row.address, detail=row.detail, facts=row.facts,
            )
            for row in session.scalars(query)
        ]  # fmt: skip
