"""Sessions: a person is signed in, in one browser, until they sign out or time runs out.

1. A session ends after so long without use, and after so long in any case (`[access]` in policy.toml).
2. Each sign-in makes a new token: one that somebody planted before is worth nothing.
3. Use is written down once a minute at most: looking costs one read.
4. A disabled user has no session.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete

from data.catalog import Catalog
from data.catalog.people import SessionRow, UserRow
from data.users.accounts import User, user_of
from data.users.tokens import digest, new_token

WRITTEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a session lasts."""

    idle: timedelta
    absolute: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session that holds.

    Attributes:
        token_sha256: Names it.
        csrf: What its pages send with each change.
    """

    user: User
    token_sha256: str
    csrf: str
    until: datetime


def begin(catalog: Catalog, name: str, *, at: datetime, limits: Limits, address: str) -> tuple[str, SignedIn] | None:
    """Sign a person in; returns the token for their browser, or None for one who is disabled or unknown."""
    token, csrf = new_token(), new_token()
    with catalog.session() as session:
        user = session.get(UserRow, name)
        if user is None or user.disabled_at is not None:
            return None
        session.execute(delete(SessionRow).where(SessionRow.until < at))  # swept where one is added
        user.seen_at = at
        row = SessionRow(
            token_sha256=digest(token), user=name, csrf=csrf, made_at=at, seen_at=at, until=at + limits.absolute,
            address=address[:64],
        )  # fmt: skip
        session.add(row)
        return token, SignedIn(user=user_of(user), token_sha256=row.token_sha256, csrf=csrf, until=row.until)


def find(catalog: Catalog, token: str, *, at: datetime, limits: Limits, used: bool = True) -> SignedIn | None:
    """The session of a token, if it still holds (rules 1 and 4).

    Args:
        catalog: The catalog.
        token: From the browser.
        at: Now.
        limits: How long one lasts.
        used: Whether a person did something, or a page only looked by itself.
    """
    name = digest(token)
    with catalog.reading() as session:
        row = session.get(SessionRow, name)
        user = None if row is None else session.get(UserRow, row.user)
    if row is None or user is None or user.disabled_at is not None:
        return None
    if at >= min(row.until, row.seen_at + limits.idle, row.made_at + limits.absolute):
        end(catalog, name)
        return None
    if used and at - row.seen_at >= WRITTEN_EVERY:
        with catalog.session() as session:
            if (again := session.get(SessionRow, name)) is not None:
                again.seen_at = max(at, again.seen_at)
    return SignedIn(user=user_of(user), token_sha256=name, csrf=row.csrf, until=row.until)


def end(catalog: Catalog, token_sha256: str) -> None:
    """Sign out."""
    with catalog.session() as session:
        session.execute(delete(SessionRow).where(SessionRow.token_sha256 == token_sha256))
