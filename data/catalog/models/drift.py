"""What is watched for drift, and the alarms."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from data.catalog.models.base import Base, BigId


class DriftWatchRow(Base):
    """How far one device's windows were looked at for drift, and what was learnt from its reference period."""

    __tablename__ = "drift_watches"

    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), primary_key=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)  # "pictures", "rates"
    since_epoch: Mapped[int]  # windows after this one belong to the reference or to what is watched
    since_window: Mapped[int]
    seen_epoch: Mapped[int]  # the newest window looked at
    seen_window: Mapped[int]
    seen_at: Mapped[datetime | None]  # when that one closed, on the device's clock
    engine_id: Mapped[str | None] = mapped_column(String(128))  # whose rates the reference is of
    reference: Mapped[str] = mapped_column(Text)  # what it is made of, for people
    state: Mapped[bytes | None]  # data/drift/stored.py; NULL while the reference is short


class DriftPointRow(Base):
    """How far a window brought its device towards an alarm of drift."""

    __tablename__ = "drift_points"

    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), primary_key=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)  # "pictures", "rates"
    epoch: Mapped[int] = mapped_column(primary_key=True)
    window: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]  # when the window closed, on the device's clock
    level: Mapped[float]  # the statistic over its limit: an alarm at 1
    leading: Mapped[str] = mapped_column(String(96))  # the measure or rate that most of it comes from


class DriftAlarmRow(Base):
    """A device's line left its band. Open until a person says something of it or its reference begins anew."""

    __tablename__ = "drift_alarms"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), index=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"))
    station: Mapped[str] = mapped_column(String(63))
    kind: Mapped[str] = mapped_column(String(16))  # "pictures", "rates"
    cause: Mapped[str] = mapped_column(String(16))
    words: Mapped[str] = mapped_column(Text)
    figures: Mapped[dict[str, Any]]
    at: Mapped[datetime]  # when the cloud saw it
    window_at: Mapped[datetime]  # when the window closed that raised it, on the device's clock
    began_at: Mapped[datetime | None]  # the likely beginning
    action: Mapped[str] = mapped_column(String(16), server_default="")  # what policy did: "", "labels", "retrain"
    asked: Mapped[int] = mapped_column(server_default=text("0"))  # labels asked for
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None] = mapped_column(String(128))
    note: Mapped[str] = mapped_column(Text, server_default="")
