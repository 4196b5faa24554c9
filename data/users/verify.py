"""Whether a name and a password belong together."""

from __future__ import annotations

from data.catalog import Catalog
from data.catalog.people import UserRow
from data.users.passwords import hash_password, is_outdated, matches


def password_holds(catalog: Catalog, name: str, password: str) -> str | None:
    """The user's name, if it is their password and they are not disabled; else None, after the same time.

    A hash made with older parameters is made anew on the way.
    """
    with catalog.reading() as session:
        row = session.get(UserRow, name)
    stored = row.password_hash if row is not None and row.disabled_at is None else None
    if not matches(password, stored) or row is None or stored is None:
        return None
    if is_outdated(stored):
        fresh = hash_password(password)
        with catalog.session() as session:
            if (again := session.get(UserRow, name)) is not None and again.password_hash == stored:
                again.password_hash = fresh
    return row.name
