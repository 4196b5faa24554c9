"""The tables. Rules that the schema itself keeps:

1. A captured sample is unique by (device, epoch, window, sequence): a second delivery cannot double it.
2. A window is unique by (device, epoch, window), and its record's figures are immutable once ingested.
3. ``label_events`` is append-only; the current label is derived (see :mod:`data.labels`).
4. A sample is offered to the second sampling stage once: ``draw_items`` has one row with
   ``extra = false`` per sample. Later draws of it are ``extra`` and carry no probability.
5. Every instant is aware and in UTC (:class:`~data.catalog.columns.UtcDateTime`).
6. A label is a *set* of class names (JSON list): multi-label needs no new schema.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from data.catalog.columns import UtcDateTime

# SQLite's rowid alias needs INTEGER; PostgreSQL wants 64 bits.
_BigId = BigInteger().with_variant(Integer(), "sqlite")

# Named constraints: Alembic can only alter what has a name.
_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Declarative base; every datetime column is aware UTC and every dict or list column is JSON."""

    metadata = MetaData(naming_convention=_NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        list[str]: JSON(),
    }


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
_UNDO = text("kind = 'undo'")


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


class LabelEventRow(Base):
    """What somebody did to a sample. Append-only. ``serial`` orders events that share an instant."""

    __tablename__ = "label_events"
    __table_args__ = (
        CheckConstraint("kind IN ('label', 'undo', 'skip', 'cannot_tell')", name="kind"),
        Index("ix_label_events_who_at", "who", "at"),
        Index("ix_label_events_because", "because"),
        Index("ix_label_events_undos", "inspection", sqlite_where=_UNDO, postgresql_where=_UNDO),
    )

    serial: Mapped[int] = mapped_column(_BigId, primary_key=True, autoincrement=True)
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

    id: Mapped[int] = mapped_column(_BigId, primary_key=True, autoincrement=True)
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


class QuarantineRow(Base):
    """A bad window, sample or heartbeat: kept, with the reason, out of everything else's way."""

    __tablename__ = "quarantine"
    __table_args__ = (UniqueConstraint("key", "member"),)

    id: Mapped[int] = mapped_column(_BigId, primary_key=True, autoincrement=True)
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

    id: Mapped[int] = mapped_column(_BigId, primary_key=True, autoincrement=True)
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


class HeartbeatRow(Base):
    """History of signed heartbeats, one row per device and sequence."""

    __tablename__ = "heartbeats"
    __table_args__ = (UniqueConstraint("device", "sent_at", "sequence"),)

    id: Mapped[int] = mapped_column(_BigId, primary_key=True, autoincrement=True)
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

    id: Mapped[int] = mapped_column(_BigId, primary_key=True, autoincrement=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), index=True)
    site: Mapped[str] = mapped_column(String(63))
    heard_at: Mapped[datetime | None]  # NULL: never
    raised_at: Mapped[datetime]
    cleared_at: Mapped[datetime | None] = mapped_column(index=True)


class ReleaseRow(Base):
    """Log of what was released, rolled back or halted."""

    __tablename__ = "releases"

    id: Mapped[int] = mapped_column(_BigId, primary_key=True, autoincrement=True)
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

    id: Mapped[int] = mapped_column(_BigId, primary_key=True, autoincrement=True)
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

    id: Mapped[int] = mapped_column(_BigId, primary_key=True, autoincrement=True)
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

    id: Mapped[int] = mapped_column(_BigId, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16))  # "part", "sample", "person", "expired"
    who: Mapped[str] = mapped_column(String(128))  # asked for it
    at: Mapped[datetime]
    pseudonym: Mapped[str] = mapped_column(String(64))  # what stands where the name or the part's id stood; "": nothing
    subject: Mapped[dict[str, Any]]  # emptied when it is done
    delete_next: Mapped[list[str]]  # objects of the bucket that nothing refers to any more
    counts: Mapped[dict[str, Any]]
    done_at: Mapped[datetime | None]
