"""What devices sent. Rules that the schema itself keeps:

1. A captured sample is unique by (device, epoch, window, sequence): a second delivery cannot double it.
2. A window is unique by (device, epoch, window), and its record's figures are immutable once ingested.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from data.catalog.models.base import Base, BigId

_SUMMED = ("ingested_at", "frames", "excluded", "overload", "missing", "uploaded_bytes")


class WindowRow(Base):
    """One closed capture window: the fields of its signed record and what ingest made of it."""

    __tablename__ = "windows"
    __table_args__ = (
        Index("ix_windows_inspection_draw", "inspection", "draw_id"),
        Index("ix_windows_inspection_opened", "inspection", "opened_at"),
        Index("ix_windows_device_ingested", "device", "ingested_at"),
        # The figures of the loop are added up from this index alone: a window's row holds its histograms.
        Index("ix_windows_totals", "inspection", *_SUMMED),
    )

    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True)
    window: Mapped[int] = mapped_column(Integer, primary_key=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"))
    site: Mapped[str] = mapped_column(String(63))
    station: Mapped[str] = mapped_column(String(63))
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime]
    engine_ids: Mapped[list[str]]
    frames: Mapped[int]  # N: committed frames, kept or not
    weight_total: Mapped[float]
    threshold: Mapped[float]  # tau, final
    byte_budget: Mapped[int] = mapped_column(BigInteger)
    excluded: Mapped[int]
    overload: Mapped[int]
    class_counts: Mapped[dict[str, Any]]  # predicted class -> frames, over ALL frames
    verdict_counts: Mapped[dict[str, Any]]
    histograms: Mapped[dict[str, Any]]
    runs: Mapped[list[Any]]  # [[run, length], …]
    manifest_entries: Mapped[int]  # samples the record promised
    manifest_counted: Mapped[int]  # of these, the ones with w/u > tau
    manifest_inverse_p: Mapped[float]  # sum of 1/p1 over the counted ones, also of those that never came
    missing: Mapped[int]  # promised, not readable or not there: non-response, shown
    uploaded_bytes: Mapped[int] = mapped_column(BigInteger)  # shards as stored in the inbox
    record_sha256: Mapped[str] = mapped_column(String(64))
    ingested_at: Mapped[datetime]
    draw_id: Mapped[str | None] = mapped_column(ForeignKey("draws.id"))  # the draw that offered its samples


_FLAGGED = text("extra = 'flag'")


class SampleRow(Base):
    """One image that is known: captured on a device (``field``) or imported (``factory``)."""

    __tablename__ = "samples"
    __table_args__ = (
        ForeignKeyConstraint(["device", "epoch", "window"], ["windows.device", "windows.epoch", "windows.window"]),
        UniqueConstraint("device", "epoch", "window", "sequence"),
        CheckConstraint("origin IN ('factory', 'field')", name="origin"),
        Index("ix_samples_inspection_origin_counted", "inspection", "origin", "counted"),
        Index("ix_samples_inspection_origin_captured", "inspection", "origin", "captured_at", "sample_id"),
        Index("ix_samples_flagged", "inspection", sqlite_where=_FLAGGED, postgresql_where=_FLAGGED),
        Index("ix_samples_inspection_part_id", "inspection", "part_id"),
        Index("ix_samples_inspection_image_sha256", "inspection", "image_sha256"),
    )

    sample_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"))
    origin: Mapped[str] = mapped_column(String(8))
    # Where it came from. NULL for factory samples (no device sent them).
    device: Mapped[str | None] = mapped_column(ForeignKey("devices.name"))
    station: Mapped[str | None] = mapped_column(String(63))
    epoch: Mapped[int | None]
    window: Mapped[int | None]
    sequence: Mapped[int | None] = mapped_column(BigInteger)
    # Where its image is.
    image_sha256: Mapped[str] = mapped_column(String(64))
    lake_path: Mapped[str] = mapped_column(String(512))
    lake_row: Mapped[int]
    media_type: Mapped[str] = mapped_column(String(32))
    image_bytes: Mapped[int]
    width: Mapped[int | None]
    height: Mapped[int | None]
    # First sampling stage. NULL for factory samples.
    weight: Mapped[float | None]
    u: Mapped[float | None]
    p1: Mapped[float | None]  # inclusion probability; NULL unless counted
    counted: Mapped[bool] = mapped_column(server_default=false())  # w/u > tau and not an extra
    extra: Mapped[str | None] = mapped_column(String(32))  # "flag", "campaign", "spare"
    reasons: Mapped[dict[str, Any]]
    run: Mapped[int | None] = mapped_column(BigInteger)
    run_length: Mapped[int | None]
    # What it is of, and which side of the split its group is on.
    part_id: Mapped[str | None] = mapped_column(String(256))
    group: Mapped[str] = mapped_column(String(320))
    split: Mapped[str] = mapped_column(String(8))
    stage: Mapped[str | None] = mapped_column(String(32))  # of an archive: factory, stream, holdout
    source_path: Mapped[str | None] = mapped_column(Text)  # of an import
    captured_at: Mapped[datetime]
    ingested_at: Mapped[datetime]
    # What the engine said.
    engine_id: Mapped[str | None] = mapped_column(String(128))
    classes: Mapped[list[str]]  # the engine's class order, to which `probabilities` belongs
    probabilities: Mapped[list[Any]]
    anomaly: Mapped[float | None]
    verdict: Mapped[str | None] = mapped_column(String(8))
    context: Mapped[dict[str, Any]]
    # Its image and whatever says what it is of are gone since then; what estimates rest on stays (data/erasure).
    erased_at: Mapped[datetime | None]


class EventRow(Base):
    """An operator's flag: the cord was pulled."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_inspection_kind", "inspection", "kind"),)

    event_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), index=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"))
    kind: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
    sample_id: Mapped[str | None] = mapped_column(String(64), index=True)  # may arrive before its sample
    part_id: Mapped[str | None] = mapped_column(String(256))
    value: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    ingested_at: Mapped[datetime]


class OutcomeRow(Base):
    """Truth that came later, joined by part id."""

    __tablename__ = "outcomes"
    __table_args__ = (
        Index("ix_outcomes_inspection_part_id", "inspection", "part_id"),
        Index("ix_outcomes_inspection_at", "inspection", "at"),
    )

    event_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    device: Mapped[str | None] = mapped_column(ForeignKey("devices.name"))
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"))
    part_id: Mapped[str] = mapped_column(String(256))
    value: Mapped[str] = mapped_column(Text)
    stage: Mapped[str | None] = mapped_column(String(128))
    at: Mapped[datetime]
    ingested_at: Mapped[datetime]


class QuarantineRow(Base):
    """A bad window, sample or heartbeat: kept, with the reason, out of everything else's way."""

    __tablename__ = "quarantine"
    __table_args__ = (UniqueConstraint("key", "member"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16))  # "window", "shard", "sample", "heartbeat"
    key: Mapped[str] = mapped_column(String(512))  # inbox key
    member: Mapped[str] = mapped_column(String(256), server_default="")  # inside a shard; "" for the whole
    device: Mapped[str | None] = mapped_column(String(63))  # as the key claims; not proven
    inspection: Mapped[str | None] = mapped_column(String(63))
    sample_id: Mapped[str | None] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    moved_to: Mapped[str | None] = mapped_column(String(512))
    bytes: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
