"""Accounts of people.

1. A name is 1 to 64 letters, digits and ``. _ @ + -``, beginning with a letter or digit; it never changes, since labels
   and the audit log name it. ``Ann`` and ``ann`` cannot both be.
2. An account is never deleted but disabled: what was done in its name stays in its name.
3. The last admin who is not disabled stays one: nobody locks everybody out.
4. A change of password, role or state ends the person's sessions; a new password also ends their unused links.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.people import SessionRow, SignInLinkRow, UserRow
from data.languages import LANGUAGES
from data.users.passwords import check_password, hash_password
from data.users.roles import Role
from edge_client.contract.errors import AndonError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


class UserError(AndonError):
    """An account is not there, or cannot be changed so; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who may sign in.

    Attributes:
        has_password: Whether they sign in with one; else by a link or by an identity provider.
        issuer: The identity provider that vouches for them.
    """

    name: str
    role: Role
    has_password: bool
    issuer: str | None
    language: str | None
    created_at: datetime
    disabled_at: datetime | None
    seen_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        times = ("created_at", "disabled_at", "seen_at")
        return {**asdict(self), **{key: at.isoformat() if (at := getattr(self, key)) else None for key in times}}


def add_user(
    catalog: Catalog, name: str, role: Role, *, at: datetime, password: str | None = None, issuer: str | None = None,
    subject: str | None = None,
) -> User:  # fmt: skip
    """Add an account (rule 1).

    Raises:
        UserError: The name cannot be one, or is taken.
        PasswordError: The password will not do.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} cannot be a user's name: expected 1 to 64 letters, digits and . _ @ + -")
    if password is not None:
        check_password(password, name)
    hashed = None if password is None else hash_password(password)
    with catalog.session() as session:
        taken = session.scalar(select(UserRow.name).where(func.lower(UserRow.name) == name.lower()))
        if taken is not None:
            raise UserError(f"there is a user {taken!r} already: take another name, or `andon user role {taken} ROLE`")
        row = UserRow(
            name=name, role=role.value, password_hash=hashed, issuer=issuer, subject=subject, created_at=at
        )  # fmt: skip
        session.add(row)
        session.flush()
        return user_of(row)


def list_users(catalog: Catalog) -> list[User]:
    """All accounts, by name."""
    with catalog.reading() as session:
        return [user_of(row) for row in session.scalars(select(UserRow).order_by(UserRow.name))]


def get_user(catalog: Catalog, name: str) -> User:
    """One account.

    Raises:
        UserError: There is none of that name.
    """
    with catalog.reading() as session:
        return user_of(_row(session, name))


def set_role(catalog: Catalog, name: str, role: Role) -> User:
    """Give a person another role (rules 3 and 4).

    Raises:
        UserError: No such user, or it is the last admin.
    """
    with catalog.session() as session:
        row = _row(session, name)
        if role is not Role.ADMIN:
            _not_the_last_admin(session, row)
        if row.role != role.value:
            row.role = role.value
            end_sessions(session, name)
        return user_of(row)


def set_disabled(catalog: Catalog, name: str, disabled: bool, *, at: datetime) -> User:
    """Keep a person out, or let them in again (rules 2 to 4).

    Raises:
        UserError: No such user, or it is the last admin.
    """
    with catalog.session() as session:
        row = _row(session, name)
        if disabled:
            _not_the_last_admin(session, row)
            row.disabled_at = row.disabled_at or at
            end_sessions(session, name)
            session.execute(delete(SignInLinkRow).where(SignInLinkRow.user == name))
        else:
            row.disabled_at = None
        return user_of(row)


def set_password(catalog: Catalog, name: str, password: str, *, keep: str | None = None) -> User:
    """Give a person a new password (rule 4).

    Args:
        catalog: The catalog.
        name: Whose.
        password: The new one.
        keep: SHA-256 of the token of a session that goes on: the one in which it was changed.

    Raises:
        UserError: No such user.
        PasswordError: It will not do.
    """
    check_password(password, name)
    hashed = hash_password(password)
    with catalog.session() as session:
        row = _row(session, name)
        row.password_hash = hashed
        end_sessions(session, name, keep=keep)
        session.execute(delete(SignInLinkRow).where(SignInLinkRow.user == name))
        return user_of(row)


def set_language(catalog: Catalog, name: str, language: str) -> None:
    """Remember in which language a person reads.

    Raises:
        UserError: No such user, or no such language.
    """
    if language not in LANGUAGES:
        raise UserError(f"there is no language {language!r}: expected one of {', '.join(LANGUAGES)}")
    with catalog.session() as session:
        _row(session, name).language = language


def end_sessions(session: Session, name: str, *, keep: str | None = None) -> None:
    """Sign a person out everywhere, but in the session that is kept."""
    session.execute(delete(SessionRow).where(SessionRow.user == name, SessionRow.token_sha256 != (keep or "")))


def user_of(row: UserRow) -> User:
    """A row as a value."""
    return User(
        name=row.name,
        role=Role(row.role),
        has_password=row.password_hash is not None,
        issuer=row.issuer,
        language=row.language,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        seen_at=row.seen_at,
    )


def _row(session: Session, name: str) -> UserRow:
    row = session.get(UserRow, name)
    if row is None:
        known = list(session.scalars(select(UserRow.name).order_by(UserRow.name).limit(8)))
        raise UserError(f"there is no user {name!r}; there are {', '.join(known) or 'none'}: see `andon user list`")
    return row


def _not_the_last_admin(session: Session, row: UserRow) -> None:
    if row.role != Role.ADMIN.value or row.disabled_at is not None:
        return
    others = session.scalar(
        select(func.count()).where(
            UserRow.role == Role.ADMIN.value, UserRow.disabled_at.is_(None), UserRow.name != row.name
        )
    )
    if not others:
        raise UserError(f"{row.name} is the only admin: make somebody else one first (`andon user role NAME admin`)")
