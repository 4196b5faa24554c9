"""Inspections, devices, and which of these look at which."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from data.catalog.models.base import Base


class InspectionRow(Base):
    """One question with its classes; one registered model in MLflow."""

    __tablename__ = "inspections"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    classes: Mapped[list[Any]]  # [{"name": "ok", "kind": "ok"}, …] in the engine's order
    settings: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class DeviceRow(Base):
    """A device that was enrolled. Its public key proves who sent a window."""

    __tablename__ = "devices"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    site: Mapped[str] = mapped_column(String(63))
    station: Mapped[str] = mapped_column(String(63))
    public_key_hex: Mapped[str] = mapped_column(String(64))
    registered_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None] = mapped_column(Text)
    previous_public_key_hex: Mapped[str | None] = mapped_column(String(64))  # still believed, until then:
    previous_until: Mapped[datetime | None]


class DeviceAccountRow(Base):
    """A device's account in the bucket: its invitation, its key, and the key that is to follow."""

    __tablename__ = "device_accounts"

    device: Mapped[str] = mapped_column(String(63), primary_key=True)  # may not be enrolled yet
    access_key_id: Mapped[str | None] = mapped_column(String(128))
    next_access_key_id: Mapped[str | None] = mapped_column(String(128))  # made for it, not yet seen in a heartbeat
    next_since: Mapped[datetime | None]
    recipient: Mapped[str | None] = mapped_column(String(128))  # its own age recipient
    claim_key_hex: Mapped[str | None] = mapped_column(String(64))  # public half of an unused bundle's one-time key
    invited_at: Mapped[datetime | None]
    invited_until: Mapped[datetime | None]
    invitation: Mapped[dict[str, Any] | None]  # site, station, inspection, channel
    claimed_at: Mapped[datetime | None]
    replaced_at: Mapped[datetime | None]  # when its account last changed
    key_wanted_at: Mapped[datetime | None]  # a new signing key was asked for


class DeviceInspectionRow(Base):
    """Which inspections a device may send samples of, and the channel it follows."""

    __tablename__ = "device_inspections"

    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True)
    inspection: Mapped[str] = mapped_column(ForeignKey("inspections.name"), primary_key=True)
    channel: Mapped[str] = mapped_column(String(63))
