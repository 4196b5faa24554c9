"""Sign-ins that were begun at an identity provider: what must fit when somebody comes back.

1. One that was begun is ended once, by the browser that began it, and not after ten minutes.
2. The state in the address and the token in the browser's cookie are random; the catalog keeps their SHA-256.
3. An address has so many open at most: whoever begins without end fills no table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select

from data.catalog import Catalog
from data.catalog.people import SignInBegunRow
from data.users.tokens import digest, new_token

LASTS = timedelta(minutes=10)
MOST_OPEN = 100  # of an address: a plant may sit behind one
MOST_ONWARD = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A sign-in on its way.

    Attributes:
        state: Comes back in the address.
        nonce: Comes back in the token that is signed.
        verifier: Shows the provider that whoever asks for the token is who began (PKCE).
        onward: The page that was wanted.
    """

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    onward: str


def begin_sign_in(catalog: Catalog, *, browser: str, onward: str, address: str, at: datetime) -> Begun | None:
    """Note that a browser is sent away; None: too many from this address are on their way (rule 3)."""
    made = Begun(state=new_token(), nonce=new_token(), verifier=new_token() + new_token(), onward=onward[:MOST_ONWARD])
    with catalog.session() as session:
        session.execute(delete(SignInBegunRow).where(SignInBegunRow.until <= at))  # swept where one is added
        held = session.scalar(
            select(func.count()).select_from(SignInBegunRow).where(SignInBegunRow.address == address[:64])
        )
        if (held or 0) >= MOST_OPEN:
            return None
        session.add(
            SignInBegunRow(
                state_sha256=digest(made.state), browser_sha256=digest(browser), nonce=made.nonce,
                verifier=made.verifier, onward=made.onward, address=address[:64], until=at + LASTS,
            )
        )  # fmt: skip
    return made


def end_sign_in(catalog: Catalog, state: str, *, browser: str, at: datetime) -> Begun | None:
    """What was begun with a state, once; None: nothing was, by this browser, or it is too long ago (rule 1)."""
    with catalog.session() as session:
        row = session.get(SignInBegunRow, digest(state), with_for_update=True)
        if row is None or row.browser_sha256 != digest(browser):
            return None  # another browser's stays: nobody can end what somebody else began
        session.delete(row)
        if at >= row.until:
            return None
        return Begun(state=state, nonce=row.nonce, verifier=row.verifier, onward=row.onward)
