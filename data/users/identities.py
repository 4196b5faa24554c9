"""People for whom an identity provider vouches: their account, made at the first sign-in, and their role.

1. Who somebody is, is the provider's issuer and its subject, never a name or an address of mail: these change, and may
   be given to somebody else.
2. The first sign-in makes the account. A name that another account has is refused: nobody becomes somebody else by
   being called the same. An administrator may join the two (`join`).
3. The role is the provider's word at each sign-in. It may take the last admin's: with ``andon user`` a terminal always
   makes another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from data.catalog import Catalog
from data.catalog.people import SignInLinkRow, UserRow
from data.users.accounts import User, UserError, add_user, end_sessions, user_of
from data.users.roles import Role

MOST_SUBJECT = 255  # OpenID Connect Core, section 2
_OTHER = re.compile(r"[^A-Za-z0-9._@+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The account of somebody who came from a provider.

    Attributes:
        new: It was made just now.
        before: The role until now, where it changed.
    """

    user: User
    new: bool = False
    before: Role | None = None


def name_from(said: str) -> str:
    """A user's name from what a provider calls them; "" where nothing of it can be one.

    >>> name_from("ann.lee@plant.example"), name_from("Jörg  Müller"), name_from("__"), name_from("x" * 99) == "x" * 64
    ('ann.lee@plant.example', 'J-rg-M-ller', '', True)
    """
    return _OTHER.sub("-", said.strip()).lstrip("._@+-")[:64].rstrip("-")


def known_by(catalog: Catalog, *, issuer: str, subject: str, called: str, role: Role, at: datetime) -> Known:
    """The account of a provider's subject, made or brought up to date (rules 1 to 3).

    Args:
        catalog: The catalog.
        issuer: The provider.
        subject: The person's id there.
        called: What it calls them.
        role: By its word now.
        at: When.

    Raises:
        UserError: The name is another account's, or cannot be one.
    """
    with catalog.session() as session:
        row = session.scalar(select(UserRow).where(UserRow.issuer == issuer, UserRow.subject == subject))
        if row is not None:
            before = Role(row.role)
            if before is not role:
                row.role = role.value
                end_sessions(session, row.name)
            return Known(user=user_of(row), before=before if before is not role else None)
    name = name_from(called)
    try:
        return Known(user=add_user(catalog, name, role, at=at, issuer=issuer, subject=subject), new=True)
    except UserError as error:
        raise UserError(
            f"{error}; if {called!r} is that person, join them: andon user join {name or 'NAME'} {subject!r}"
        ) from error


def join(catalog: Catalog, name: str, *, issuer: str, subject: str) -> User:
    """Let a provider's subject be an account that is there: it signs in there from now on, without a password.

    Raises:
        UserError: No such account, or the subject is another's.
    """
    if not 0 < len(subject) <= MOST_SUBJECT:
        raise UserError(f"the subject has {len(subject)} characters, expected 1 to {MOST_SUBJECT}")
    with catalog.session() as session:
        other = session.scalar(select(UserRow.name).where(UserRow.issuer == issuer, UserRow.subject == subject))
        if other not in (None, name):
            raise UserError(f"this subject of {issuer} is {other!r} already: disable that account first")
        row = session.get(UserRow, name)
        if row is None:
            raise UserError(f"there is no user {name!r}: see `andon user list`")
        row.issuer, row.subject, row.password_hash = issuer, subject, None
        end_sessions(session, name)
        session.execute(delete(SignInLinkRow).where(SignInLinkRow.user == name))
        return user_of(row)
