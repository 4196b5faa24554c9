"""Notices to people, and what was erased."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from data.catalog.models.base import Base, BigId


class NoticeRow(Base):
    """What people are to be told on one channel, and whether they were (data/notices.py)."""

    __tablename__ = "notices"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)  # of the event
    channel: Mapped[str] = mapped_column(String(16), primary_key=True)  # "webhook", "mail"
    kind: Mapped[str] = mapped_column(String(16))
    content: Mapped[dict[str, Any]]
    at: Mapped[datetime]
    attempts: Mapped[int]
    next_at: Mapped[datetime | None] = mapped_column(index=True)  # NULL: sent, or given up
    sent_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(Text)  # of the newest attempt; "" is none


class ErasureRow(Base):
    """What was asked to be erased; while it is under way, what it is about, and afterwards only how much it was."""

    __tablename__ = "erasures"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16))  # "part", "sample", "person", "expired"
    who: Mapped[str] = mapped_column(String(128))  # asked for it
    at: Mapped[datetime]
    pseudonym: Mapped[str] = mapped_column(String(64))  # what stands where the name or the part's id stood; "": nothing
    subject: Mapped[dict[str, Any]]  # emptied when it is done
    delete_next: Mapped[list[str]]  # objects of the bucket that nothing refers to any more
    counts: Mapped[dict[str, Any]]
    done_at: Mapped[datetime | None]
