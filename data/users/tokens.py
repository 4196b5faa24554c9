"""Random tokens, of which only the SHA-256 is stored."""

from __future__ import annotations

import hashlib
import secrets


def new_token() -> str:
    """256 random bits, as 43 characters that need no escaping."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is stored of a token: it is random, so that no salt and no slow hash is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
