"""What people are asked and say. Rules that the schema itself keeps:

1. ``label_events`` is append-only; the current label is derived (see :mod:`data.labels`).
2. A sample is offered to the second sampling stage once: ``draw_items`` has one row with
   ``extra = false`` per sample. Later draws of it are ``extra`` and carry no probability.
3. A label is a *set* of class names (JSON list): multi-label needs no new schema.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from data.catalog.models.base import Base, BigId

_UNDO = text("kind = 'undo'")


class LabelEventRow(Base):
    """What somebody did to a sample. Append-only. ``serial`` orders events that share an instant."""

    __tablename__ = "label_events"
    __table_args__ = (
        CheckConstraint("kind IN ('label', 'undo', 'skip', 'cannot_tell')", name="kind"),
        Index("ix_label_events_who_at", "who", "at"),
        Index("ix_label_events_because", "because"),
        Index("ix_label_events_undos", "inspection", sqlite_where=_UNDO, postgresql_where=_UNDO),
    )

    serial: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    event_id: Mapped[str] = mapped_column(String(128), unique=True)
    sample_id: Mapped[str] = mapped_column(ForeignKey("samples.sample_id"), index=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    classes: Mapped[list[str]]  # empty unless kind is "label"
    who: Mapped[str] = mapped_column(String(128))
    at: Mapped[datetime]
    source: Mapped[str] = mapped_column(String(32))
    undoes: Mapped[str | None] = mapped_column(ForeignKey("label_events.event_id"), unique=True)
    because: Mapped[str | None] = mapped_column(String(128))  # event on a near-duplicate whose label it repeats


class LabelReviewRow(Base):
    """A label that out-of-fold predictions doubt, or an outcome contradicts: somebody should look again."""

    __tablename__ = "label_reviews"

    sample_id: Mapped[str] = mapped_column(ForeignKey("samples.sample_id"), primary_key=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), index=True)
    label_serial: Mapped[int] = mapped_column(BigInteger)  # the event that is doubted
    given: Mapped[str] = mapped_column(String(128))
    suggested: Mapped[str] = mapped_column(String(128))
    confidence: Mapped[float]  # out-of-fold probability of the given class
    snapshot_id: Mapped[str] = mapped_column(String(64))  # "" where an outcome contradicts it
    at: Mapped[datetime]


class LabelFlagRow(Base):
    """A sample that somebody who labels wants looked at, with their words; open until somebody closes it."""

    __tablename__ = "label_flags"
    __table_args__ = (Index("ix_label_flags_inspection_closed_at", "inspection", "closed_at"),)

    event_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    sample_id: Mapped[str] = mapped_column(ForeignKey("samples.sample_id"))
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"))
    who: Mapped[str] = mapped_column(String(128))
    at: Mapped[datetime]
    note: Mapped[str] = mapped_column(Text)
    said: Mapped[list[str] | None]  # an answer that came too late to count (data.label_flags, rule 3)
    closed_by: Mapped[str | None] = mapped_column(String(128))
    closed_at: Mapped[datetime | None]


class GoldenAskRow(Base):
    """A sample with a known answer that was mixed in for one person, and what that person said. No label event."""

    __tablename__ = "golden_asks"
    __table_args__ = (UniqueConstraint("sample_id", "who"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), index=True)
    sample_id: Mapped[str] = mapped_column(ForeignKey("samples.sample_id"))
    who: Mapped[str] = mapped_column(String(128))
    truth: Mapped[list[str]]
    asked_at: Mapped[datetime]
    event_id: Mapped[str | None] = mapped_column(String(128), unique=True)
    classes: Mapped[list[str] | None]  # empty: could not tell, or passed on
    answered_at: Mapped[datetime | None]


class DrawRow(Base):
    """One draw of the second sampling stage."""

    __tablename__ = "draws"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), index=True)
    at: Mapped[datetime]
    extra: Mapped[bool]  # drawn from leftovers: no probability
    requested: Mapped[int]
    offered: Mapped[int]
    drawn: Mapped[int]
    threshold: Mapped[float]  # tau2
    frames: Mapped[int]  # frames of the windows first offered by this draw
    windows: Mapped[int]


class DrawItemRow(Base):
    """Everything a draw was offered, drawn or not: the log that makes p2 checkable."""

    __tablename__ = "draw_items"
    __table_args__ = (
        # Rule 4.
        Index(
            "uq_draw_items_offered_once",
            "sample_id",
            unique=True,
            sqlite_where=text("extra = 0"),
            postgresql_where=text("extra = false"),
        ),
        Index("ix_draw_items_sample_id", "sample_id"),
        # Few of what is offered is drawn, and that is what is asked for.
        Index("ix_draw_items_drawn", "draw_id", "rank", sqlite_where=text("drawn = 1"), postgresql_where=text("drawn")),
        Index(
            "ix_draw_items_open",
            "draw_id",
            sqlite_where=text("drawn = 1 AND settled_by IS NULL"),
            postgresql_where=text("drawn AND settled_by IS NULL"),
        ),
    )

    draw_id: Mapped[str] = mapped_column(ForeignKey("draws.id"), primary_key=True)
    sample_id: Mapped[str] = mapped_column(ForeignKey("samples.sample_id"), primary_key=True)
    extra: Mapped[bool]
    score: Mapped[float]
    u: Mapped[float]
    p2: Mapped[float | None]  # NULL for extras
    drawn: Mapped[bool]
    rank: Mapped[int]  # order in which people see the drawn ones
    cluster: Mapped[str | None] = mapped_column(String(64))  # sample that speaks for its near-duplicates; NULL: alone
    why: Mapped[dict[str, Any] | None]  # what made the score (data.label_scores)
    settled_by: Mapped[int | None] = mapped_column(BigInteger)  # an event that settled it, as noted (data.open_items)


class LeaseRow(Base):
    """A sample shown to somebody just now, so that two people don't label the same one."""

    __tablename__ = "leases"

    sample_id: Mapped[str] = mapped_column(ForeignKey("samples.sample_id"), primary_key=True)
    who: Mapped[str] = mapped_column(String(128))
    until: Mapped[datetime]
