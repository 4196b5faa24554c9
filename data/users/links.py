"""One-time links: how somebody signs in who has no password yet, the first admin before all others.

1. A link signs one person in, once, and not after its time. It takes the place of their password: used, it takes the
   old one away, and they set a new one.
2. As long as no admin can sign in, whoever may read the home directory can: `ensure_first_link` keeps a link for the
   admin in a file of mode 600 there, which `andon up` and `andon status` print. Used or outdated, it is made anew;
   once an admin has a password or comes from an identity provider, the file is taken away.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, or_, select

from data.catalog import Catalog
from data.catalog.people import SignInLinkRow, UserRow
from data.users.accounts import add_user, get_user
from data.users.roles import Role
from data.users.tokens import digest, new_token

FIRST_ADMIN = "admin"
FILE_NAME = "sign-in"
LASTS = timedelta(hours=24)
_FIRST_LASTS = timedelta(days=30)  # the file is as secret as the keys beside it


def new_link(catalog: Catalog, name: str, *, at: datetime, lasts: timedelta = LASTS) -> str:
    """Make a link for a person and return its token; older ones of theirs end.

    Raises:
        UserError: No such user.
    """
    get_user(catalog, name)
    token = new_token()
    with catalog.session() as session:
        session.execute(delete(SignInLinkRow).where(SignInLinkRow.user == name))
        session.add(SignInLinkRow(token_sha256=digest(token), user=name, made_at=at, until=at + lasts))
    return token


def use_link(catalog: Catalog, token: str, *, at: datetime) -> str | None:
    """Whom a link signs in; None for one that is unknown, used or outdated (rule 1)."""
    with catalog.session() as session:
        row = session.get(SignInLinkRow, digest(token))
        if row is None:
            return None
        session.delete(row)
        user = session.get(UserRow, row.user)
        if at >= row.until or user is None or user.disabled_at is not None:
            return None
        user.password_hash = None
        return user.name


def ensure_first_link(catalog: Catalog, home: Path, *, at: datetime) -> str | None:
    """Keep the first admin's link in its file, and return its token; None once an admin can sign in (rule 2)."""
    path = home / FILE_NAME
    with catalog.reading() as session:
        admins = select(UserRow.name).where(UserRow.role == Role.ADMIN.value, UserRow.disabled_at.is_(None))
        able = session.scalar(admins.where(or_(UserRow.password_hash.is_not(None), UserRow.subject.is_not(None))))
        first = session.scalar(admins.order_by(UserRow.created_at))
    if able is not None:
        path.unlink(missing_ok=True)
        return None
    kept = _read(path)
    with catalog.reading() as session:
        row = session.get(SignInLinkRow, digest(kept)) if kept else None
    if kept and row is not None and at < row.until:
        return kept
    if first is None:
        first = add_user(catalog, FIRST_ADMIN, Role.ADMIN, at=at).name
    token = new_link(catalog, first, at=at, lasts=_FIRST_LASTS)
    _write(path, token)
    return token


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _write(path: Path, token: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w", encoding="ascii") as opened:
        opened.write(f"{token}\n")
    beside.replace(path)
