"""The tables of people: who may sign in, who is signed in, and what was done in whose name.

1. No secret is stored: of a password its argon2id hash, of a session and of a one-time link the SHA-256.
2. ``audit_log`` is append-only: a trigger refuses each change and each deletion (migration 0010). Only a person's name
   can be replaced in it, and only while the erasure of a person is under way (migration 0016).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from data.catalog.models.base import Base

_BigId = BigInteger().with_variant(Integer(), "sqlite")


class UserRow(Base):
    """A person who may sign in to the console."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str | None] = mapped_column(String(256))
    issuer: Mapped[str | None] = mapped_column(String(256))  # of an identity provider that vouches for the person
    subject: Mapped[str | None] = mapped_column(String(256))  # the person's id there
    language: Mapped[str | None] = mapped_column(String(8))  # chosen; else the browser's
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]  # last signed in


class SessionRow(Base):
    """A person is signed in, in one browser."""

    __tablename__ = "sessions"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(ForeignKey("users.name"), index=True)
    csrf: Mapped[str] = mapped_column(String(64))  # what a page of this session sends with each change
    made_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    until: Mapped[datetime]  # whatever happens
    address: Mapped[str] = mapped_column(String(64))


class SignInLinkRow(Base):
    """A link that signs one person in, once."""

    __tablename__ = "sign_in_links"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(ForeignKey("users.name"), index=True)
    made_at: Mapped[datetime]
    until: Mapped[datetime]


class SignInFailureRow(Base):
    """How often signing in failed of late, for a name, an address or both (data/users/attempts.py)."""

    __tablename__ = "sign_in_failures"

    key: Mapped[str] = mapped_column(String(160), primary_key=True)
    failures: Mapped[int]
    last_at: Mapped[datetime]


class SignInBegunRow(Base):
    """Somebody was sent to an identity provider and is not back yet (data/users/begun.py)."""

    __tablename__ = "sign_ins_begun"

    state_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    browser_sha256: Mapped[str] = mapped_column(String(64))  # the browser that was sent there
    nonce: Mapped[str] = mapped_column(String(64))
    verifier: Mapped[str] = mapped_column(String(128))  # of PKCE
    onward: Mapped[str] = mapped_column(String(512))  # the page that was wanted
    address: Mapped[str] = mapped_column(String(64), index=True)
    until: Mapped[datetime]


class AuditRow(Base):
    """Who did what, when, from where, and whether it was done."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(_BigId, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(index=True)
    who: Mapped[str] = mapped_column(String(128), index=True)  # no key: who is gone stays named
    role: Mapped[str] = mapped_column(String(16))  # at that time
    what: Mapped[str] = mapped_column(String(64))  # "sign-in", "user.role", "rollout.hold"
    about: Mapped[str] = mapped_column(String(256))  # the object
    outcome: Mapped[str] = mapped_column(String(16))  # "done", "refused"
    address: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(Text)
    facts: Mapped[dict[str, Any]]
