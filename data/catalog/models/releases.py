"""What was released, in which signed documents, and how far it has got."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from data.catalog.models.base import Base, BigId


class ReleaseRow(Base):
    """Log of what was released, rolled back or halted."""

    __tablename__ = "releases"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), index=True)
    channel: Mapped[str] = mapped_column(String(63))
    version: Mapped[str | None] = mapped_column(String(64))
    engine_id: Mapped[str | None] = mapped_column(String(128))
    engine_sha256: Mapped[str | None] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(16))  # "release", "rollback", "halt"
    who: Mapped[str] = mapped_column(String(128))
    at: Mapped[datetime]
    detail: Mapped[dict[str, Any]]


class SignedDocumentRow(Base):
    """One version of a signed document for devices: settings, campaigns, requests for help."""

    __tablename__ = "signed_documents"

    path: Mapped[str] = mapped_column(String(128), primary_key=True)  # its TUF target path
    version: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str] = mapped_column(Text)  # as it was signed
    action: Mapped[str] = mapped_column(String(64))  # "set", "rollback to 3", "campaign", "help", "found signed"
    who: Mapped[str] = mapped_column(String(128))
    at: Mapped[datetime]
    why: Mapped[str] = mapped_column(Text)


class RolloutRow(Base):
    """One version on its way to one channel's devices. At most one of a channel is open (data/rollouts/values.py)."""

    __tablename__ = "rollouts"
    __table_args__ = (
        Index(
            "uq_rollouts_open",
            "inspection",
            "channel",
            unique=True,
            sqlite_where=text("state IN ('running', 'held', 'halted')"),
            postgresql_where=text("state IN ('running', 'held', 'halted')"),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), index=True)
    channel: Mapped[str] = mapped_column(String(63))
    version: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    stage: Mapped[int]
    started_at: Mapped[datetime]
    stage_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text)
    revision: Mapped[int]
    signed_revision: Mapped[int]
    plan: Mapped[dict[str, Any]]  # engines, base, salt, stages: set when it begins
    evidence: Mapped[dict[str, Any]]
    events: Mapped[list[Any]]


class RolloutDeviceRow(Base):
    """What one device showed before and after, for one rollout (data/rollouts/records.py)."""

    __tablename__ = "rollout_devices"

    rollout: Mapped[int] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True)
    record: Mapped[dict[str, Any]]
