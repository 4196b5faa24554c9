"""What models were trained on, and what the gate said of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, text
from sqlalchemy.orm import Mapped, mapped_column

from data.catalog.models.base import Base, BigId


class SnapshotRow(Base):
    """An immutable, content-addressed training set."""

    __tablename__ = "snapshots"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), index=True)
    created_at: Mapped[datetime]
    classes: Mapped[list[Any]]
    path: Mapped[str] = mapped_column(String(512))
    rows: Mapped[int]
    label_serial: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))  # label events it has seen
    counts: Mapped[dict[str, Any]]  # origin/split/label -> rows, and what was left out and why
    erased: Mapped[int] = mapped_column(server_default=text("0"))  # rows that were taken out of it later
    left_id: Mapped[str | None] = mapped_column(String(64))  # hash of what is left; NULL: all of it


class GateDecisionRow(Base):
    """What the gate said about one challenger."""

    __tablename__ = "gate_decisions"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), index=True)
    version: Mapped[str] = mapped_column(String(64))
    champion_version: Mapped[str | None] = mapped_column(String(64))
    run_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    snapshot_id: Mapped[str | None] = mapped_column(ForeignKey("snapshots.id"))
    engine_id: Mapped[str | None] = mapped_column(String(128))
    at: Mapped[datetime]
    answer: Mapped[str] = mapped_column(String(16))  # "promote", "reject", "not_enough"
    reasons: Mapped[list[str]]
    checks: Mapped[list[Any]]
    label_more: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    comparison: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)  # both models on the same frames; large
