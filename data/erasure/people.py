"""A person's name in the catalog, and a pseudonym in its place.

1. Every column of text or JSON in the schema is decided here: it may name a person, or it never does. A test holds the
   schema against it, so that a new column is decided too.
2. Where a name is the whole value, it is replaced. In free text and inside JSON it is replaced as a whole word.
3. All of it happens in one transaction. The account, its sessions, links and failed sign-ins are deleted.
4. The audit log keeps each of its lines, with what, when and how it ended: only the name is another one. The schema
   allows that while the erasure is noted as under way, and at no other time.
5. The last admin is not erased: nobody locks everybody out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import JSON, Column, Table, cast, delete, func, or_, select, update
from sqlalchemy import String as Text
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import Base
from data.catalog.people import SessionRow, SignInFailureRow, SignInLinkRow, UserRow
from data.erasure.jobs import Erasure, note
from data.users.accounts import UserError
from data.users.roles import Role

#: Table → columns whose whole value is a person's name.
NAMES: Mapping[str, tuple[str, ...]] = {
    "label_events": ("who",),
    "label_flags": ("who", "closed_by"),
    "golden_asks": ("who",),
    "leases": ("who",),
    "releases": ("who",),
    "signed_documents": ("who",),
    "drift_alarms": ("closed_by",),
    "audit_log": ("who",),
    "erasures": ("who",),
}
#: Table → columns in which a name may occur.
WORDS: Mapping[str, tuple[str, ...]] = {
    "label_flags": ("note",),
    "events": ("reason",),
    "releases": ("detail",),
    "signed_documents": ("why",),
    "drift_alarms": ("note",),
    "rollouts": ("reason", "events"),
    "audit_log": ("about", "detail", "facts"),
    "notices": ("content",),
    "devices": ("revoked_reason",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Where a person is named.

    Attributes:
        role: Of the account; None where there is none.
        rows: Table → how many of its rows.
    """

    role: Role | None
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def nothing(self) -> bool:
        """Whether the name is nowhere."""
        return self.role is None and not self.rows


def traces_of(catalog: Catalog, name: str) -> Traces:
    """Look a person up."""
    with catalog.reading() as session:
        user = session.get(UserRow, name)
        found: dict[str, int] = {}
        for table in _tables():
            if count := session.scalar(select(func.count()).where(_names(table, name))):
                found[table.name] = count
        words = {table.name: len(list(_rows_with_words(session, table, name))) for table in _tables()}
    for table_name, count in words.items():
        if count > found.get(table_name, 0):
            found[table_name] = count
    return Traces(role=None if user is None else Role(user.role), rows=found)


def check_may_go(catalog: Catalog, name: str) -> None:
    """Refuse to erase the last admin (rule 5).

    Raises:
        UserError: It is.
    """
    with catalog.reading() as session:
        row = session.get(UserRow, name)
        if row is None or row.role != Role.ADMIN.value or row.disabled_at is not None:
            return
        others = select(func.count()).where(
            UserRow.role == Role.ADMIN.value, UserRow.disabled_at.is_(None), UserRow.name != name
        )
        if not session.scalar(others):
            raise UserError(f"{name} is the last admin: make somebody else one first (`andon user role NAME admin`)")


def rename_person(catalog: Catalog, erasure: Erasure, name: str) -> None:
    """Put the pseudonym in the name's place, everywhere, or nowhere (rules 2 to 4)."""
    pseudonym, changed = erasure.pseudonym, {}
    with catalog.session() as session:
        for table in _tables():
            rows = 0
            for row, values in list(_rows_with_words(session, table, name, pseudonym)):
                session.execute(update(table).where(*_key(table, row)).values(**values))
                rows += 1
            for column in NAMES.get(table.name, ()):
                done = session.execute(update(table).where(table.c[column] == name).values({column: pseudonym}))
                rows += int(done.rowcount)  # type: ignore[attr-defined]
            if rows:
                changed[table.name] = rows
        for owned in (SessionRow, SignInLinkRow):
            session.execute(delete(owned).where(owned.user == name))
        low = name.lower()
        session.execute(
            delete(SignInFailureRow).where(
                or_(
                    SignInFailureRow.key == f"name:{low}",
                    SignInFailureRow.key.startswith(f"both:{low}:", autoescape=True),
                )
            )
        )
        accounts = session.execute(delete(UserRow).where(UserRow.name == name))
        if accounts.rowcount:  # type: ignore[attr-defined]
            changed["users"] = 1
        note(session, erasure, changed)


def without(value: Any, name: str, pseudonym: str) -> Any:
    """Replace a name as a whole word, in text and inside of JSON values.

    >>> without("ann held it; joann did not", "ann", "person-1")
    'person-1 held it; joann did not'
    >>> without({"by": "ann", "n": 3, "to": ["ann@plant", "Ann"]}, "ann", "x")
    {'by': 'x', 'n': 3, 'to': ['ann@plant', 'Ann']}
    """
    if isinstance(value, str):
        return re.sub(rf"(?<![\w.@+-]){re.escape(name)}(?![\w@+-]|\.\w)", pseudonym, value)
    if isinstance(value, Mapping):
        return {without(key, name, pseudonym): without(one, name, pseudonym) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without(one, name, pseudonym) for one in value]
    return value


def _tables() -> list[Table]:
    return [Base.metadata.tables[name] for name in sorted({*NAMES, *WORDS})]


def _names(table: Table, name: str) -> Any:
    columns = NAMES.get(table.name, ())
    return or_(*(table.c[column] == name for column in columns)) if columns else table.c[_first(table)].is_(None)


def _first(table: Table) -> str:
    return next(iter(table.primary_key.columns)).name


def _rows_with_words(
    session: Session, table: Table, name: str, pseudonym: str = ""
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Rows in which the name occurs as a word, and what their columns should be."""
    columns = [table.c[column] for column in WORDS.get(table.name, ())]
    if not columns:
        return
    likely = or_(*(_as_text(column).contains(name, autoescape=True) for column in columns))
    for row in session.execute(select(*table.primary_key.columns, *columns).where(likely)):
        values = {}
        for column in columns:
            before = getattr(row, column.name)
            after = without(before, name, pseudonym)
            if after != before:
                values[column.name] = after
        if values:
            yield row, values


def _as_text(column: Column[Any]) -> Any:
    return cast(column, Text) if isinstance(column.type, JSON) else column


def _key(table: Table, row: Any) -> list[Any]:
    return [column == getattr(row, column.name) for column in table.primary_key.columns]
