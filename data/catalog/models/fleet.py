"""What devices say of themselves, counted as it arrives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from data.catalog.models.base import Base, BigId


class HeartbeatRow(Base):
    """History of signed heartbeats, one row per device and sequence."""

    __tablename__ = "heartbeats"
    __table_args__ = (UniqueConstraint("device", "sent_at", "sequence"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"))
    sequence: Mapped[int] = mapped_column(BigInteger)
    sent_at: Mapped[datetime]
    received_at: Mapped[datetime]
    payload: Mapped[dict[str, Any]]


class DeviceStatusRow(Base):
    """The newest heartbeat of each device."""

    __tablename__ = "device_status"

    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    sent_at: Mapped[datetime]
    received_at: Mapped[datetime]
    inspection: Mapped[str | None] = mapped_column(String(63))
    channel: Mapped[str | None] = mapped_column(String(63))
    engine_id: Mapped[str | None] = mapped_column(String(128))
    engine_sha256: Mapped[str | None] = mapped_column(String(64))
    health: Mapped[str | None] = mapped_column(String(16))
    payload: Mapped[dict[str, Any]]


class FleetShardRow(Base):
    """One page of the heartbeats in the bucket: which of them were read, so that only others are read again."""

    __tablename__ = "fleet_shards"

    after: Mapped[str] = mapped_column(String(512), primary_key=True)  # it begins after this key; "" is the first
    seen: Mapped[dict[str, Any]]  # key -> [tag of the object, by which key it was judged]
    listed_at: Mapped[datetime | None]  # when all of it was last looked at


class FleetDeviceRow(Base):
    """A device as the fleet's table shows it: what is asked of its status, in columns that can be sorted."""

    __tablename__ = "fleet_devices"
    __table_args__ = (Index("ix_fleet_devices_site_station", "site", "station"),)

    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True)
    site: Mapped[str] = mapped_column(String(63))
    station: Mapped[str] = mapped_column(String(63))
    inspection: Mapped[str] = mapped_column(String(63))
    channel: Mapped[str] = mapped_column(String(63))
    state: Mapped[str] = mapped_column(String(16), index=True)  # data/fleet/facts.py
    outcome: Mapped[str] = mapped_column(String(16))  # of the newest release there
    engine_id: Mapped[str] = mapped_column(String(128))
    client_version: Mapped[str] = mapped_column(String(64))
    problem: Mapped[str] = mapped_column(Text)  # the first one; "" is none
    frames: Mapped[int] = mapped_column(BigInteger)
    latency_ms_p99: Mapped[float]
    spool_bytes: Mapped[int] = mapped_column(BigInteger)
    spool_share: Mapped[float]  # of its limit
    heard_at: Mapped[datetime | None] = mapped_column(index=True)
    silent_at: Mapped[datetime | None] = mapped_column(index=True)  # from then on its silence is an alarm
    kept_at: Mapped[datetime | None]  # when a heartbeat of it last went into the history


class FleetCellRow(Base):
    """How many devices are alike: what the fleet's summary adds up, whatever the number of devices."""

    __tablename__ = "fleet_cells"

    site: Mapped[str] = mapped_column(String(63), primary_key=True)
    inspection: Mapped[str] = mapped_column(String(63), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(16), primary_key=True)
    engine_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    client_version: Mapped[str] = mapped_column(String(64), primary_key=True)
    devices: Mapped[int]


class SilenceAlarmRow(Base):
    """A device was not heard of for longer than it said. Open until it is heard again or revoked."""

    __tablename__ = "silence_alarms"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), index=True)
    site: Mapped[str] = mapped_column(String(63))
    heard_at: Mapped[datetime | None]  # NULL: never
    raised_at: Mapped[datetime]
    cleared_at: Mapped[datetime | None] = mapped_column(index=True)
