"""Passwords: argon2id, and what one must be.

1. A password has 12 to 256 characters and is not one that everybody tries; nothing else is demanded of it.
2. Checking one takes as long for a name that nobody has: an answer's time tells nothing.
3. Each check takes 64 MB: few run at a time, the others wait.
"""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from edge_client.contract.errors import AndonError

LEAST, MOST = 12, 256
_AT_ONCE = threading.BoundedSemaphore(2)
_hasher = PasswordHasher()  # RFC 9106's second choice: 64 MiB, 3 passes, 4 lanes
_nobodys: list[str] = []  # made once, when first needed


class PasswordError(AndonError):
    """A password cannot be taken; the message says why."""


def check_password(password: str, name: str) -> None:
    """Say whether a new password will do (rule 1).

    Raises:
        PasswordError: Too short, too long, or one that is tried first.
    """
    if not LEAST <= len(password) <= MOST:
        raise PasswordError(
            f"the password has {len(password)} characters: expected {LEAST} to {MOST}; a sentence will do"
        )
    plain = password.lower()
    if len(set(plain)) < 5 or plain in _everybodys(name):
        raise PasswordError("this password is one of those that are tried first: take another one; a sentence will do")


def _everybodys(name: str) -> set[str]:
    rows = ("123456789012", "1234567890123", "qwertzuiopasdf", "qwertyuiopasdf", "passwordpassword", "administrator")
    return {
        *rows,
        name.lower() * 2,
        f"{name.lower()}12345678",
        f"{name.lower()}password",
        "password1234",
        "passwort1234",
    }


def hash_password(password: str) -> str:
    """The argon2id hash, with its parameters and salt in it."""
    with _AT_ONCE:
        return _hasher.hash(password)


def matches(password: str, stored: str | None) -> bool:
    """Whether a password is the one that was stored. None stored: no, after the same time (rule 2)."""
    with _AT_ONCE:
        if stored is None and not _nobodys:
            _nobodys.append(_hasher.hash("nobody's password"))
        try:
            _hasher.verify(stored or _nobodys[0], password[:MOST])
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None


def is_outdated(stored: str) -> bool:
    """Whether a hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(stored)
