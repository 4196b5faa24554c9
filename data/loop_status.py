"""How the loop is doing: the one function behind the console's loop page, `andon status` and `andon report`.

Every number comes with what it was counted from; shares and rates carry an interval and their n.

Nothing here looks at every sample or lists every device: samples are counted from an index, labels are few, and of the
devices those that are not well come first and the others are the fleet page's (data.fleet).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from data.agreement import Agreement, Labeller, agreement_of, labellers
from data.catalog import Catalog
from data.catalog.models import (
    DeviceInspectionRow,
    DeviceRow,
    DeviceStatusRow,
    DrawItemRow,
    DrawRow,
    DriftAlarmRow,
    EventRow,
    InspectionRow,
    LabelEventRow,
    OutcomeRow,
    QuarantineRow,
    SampleRow,
    SnapshotRow,
    WindowRow,
)
from data.current_labels import current_labels_in, labels_seen
from data.decisions import GateDecision, ReleaseEntry, list_decisions, list_releases
from data.devices import Device, device_status, get_device
from data.estimates import field_sample, miss_rate
from data.field_measures import Truth, rate_of
from data.inspections import get_inspection
from data.intervals import Estimate, miss_statement
from data.label_reviews import open_reviews
from data.labels import CurrentLabel, LabelKind, current_labels
from data.queue import queue_size
from edge_client.contract.heartbeat import Heartbeat

MOST_DEVICES = 20  # listed; a person looks for one on the fleet page
_BATCH = 500  # SQLite's limit on parameters of one statement is 999 in old builds


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """A device and its newest heartbeat (None: it never sent one)."""

    device: Device
    channel: str
    heartbeat: Heartbeat | None
    received_at: datetime | None
    windows: int
    frames: int
    captured: int
    uploaded_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineEntry:
    """Something that ingest set aside."""

    at: datetime
    kind: str
    key: str
    device: str | None
    reason: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopStatus:
    """One inspection's loop.

    Attributes:
        devices: The first `MOST_DEVICES`, those first whose health is not ok.
        device_total: How many there are.
        windows: Windows ingested.
        frames: Frames those windows saw.
        excluded: Of them, too large to be candidates.
        overload: Of them, candidates that came too fast for the device's disk.
        captured: Field samples in the catalog; ``counted`` of them are the probability sample.
        missing: Samples that a record promised and that are not readable.
        uploaded_bytes: Shards received.
        factory: Imported samples.
        labelled: Samples whose label stands, by origin.
        labels_by_class: Class → field samples.
        disagreements: Samples on which people differ.
        agreement: Cohen's kappa of the first two opinions, and the share that agrees.
        labellers: Each person's golden items.
        reviews: Labels that training doubts and nobody looked at since.
        waiting: Samples in people's queue.
        not_offered: Captured samples that no draw was offered.
        cannot_tell: Samples that somebody looked at in vain.
        new_labels: Field samples whose label no snapshot has seen.
        defect_rate: Of the frames seen, from people's labels and what the records tell of all frames.
        miss_rate: Share of frames that are defects the engine passed.
        miss_statement: The same in words, also when none was found.
        nonresponse: Share of the frames that nobody can speak for.
        drift_alarms: Open alarms of drift.
    """

    inspection: str
    classes: tuple[tuple[str, str], ...]
    devices: tuple[DeviceState, ...]
    device_total: int
    windows: int
    frames: int
    excluded: int
    overload: int
    captured: int
    counted: int
    missing: int
    uploaded_bytes: int
    factory: int
    flags: int
    outcomes: int
    labelled: Mapping[str, int]
    labels_by_class: Mapping[str, int]
    disagreements: int
    agreement: Agreement
    labellers: tuple[Labeller, ...]
    reviews: int
    waiting: int
    not_offered: int
    drawn: int
    cannot_tell: int
    new_labels: int
    defect_rate: Estimate
    miss_rate: Estimate
    miss_statement: str
    nonresponse: float
    decisions: tuple[GateDecision, ...]
    releases: tuple[ReleaseEntry, ...]
    drift_alarms: int
    quarantine: int
    quarantine_newest: tuple[QuarantineEntry, ...]
    snapshots: int
    last_window_at: datetime | None
    last_label_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: instants in ISO 8601, estimates as ``{"value", "low", "high", "n"}``."""
        value = asdict(self)
        value["defect_rate"] = self.defect_rate.to_dict()
        value["miss_rate"] = self.miss_rate.to_dict()
        value["agreement"] = self.agreement.to_dict()
        value["labellers"] = [labeller.to_dict() for labeller in self.labellers]
        for entry, state in zip(value["devices"], self.devices, strict=True):
            entry["heartbeat"] = None if state.heartbeat is None else state.heartbeat.to_payload()
        plain = _plain(value)
        assert isinstance(plain, dict)
        return plain


def loop_status(catalog: Catalog, inspection: str) -> LoopStatus:
    """The state of one inspection's loop.

    Raises:
        InspectionError: unknown inspection.
    """
    info = get_inspection(catalog, inspection)
    labels = current_labels(catalog, inspection=inspection)
    sample = field_sample(catalog, inspection)
    size = queue_size(catalog, inspection)
    passed = [item for item in sample.samples if item.verdict == "ok"]
    with catalog.reading() as session:
        windows = _window_totals(session, inspection)
        counts = _sample_counts(session, inspection)
        of_the_line = _of_the_line(session, list(labels))
        numbers = _numbers(session, inspection)
        newest = _newest_quarantine(session, inspection)
        total, names = _first_devices(session, inspection)
        per_device = _per_device(session, inspection, names)
        seen = labels_seen(session, inspection)
    field = [label for label in labels.values() if label.sample_id in of_the_line]
    return LoopStatus(
        inspection=inspection,
        classes=tuple((item.name, item.kind.value) for item in info.classes),
        devices=_devices(catalog, inspection, names, per_device),
        device_total=total,
        **windows,
        **numbers,
        **counts,
        labelled={"field": len(field), "factory": len(labels) - len(field)},
        labels_by_class=_by_class(info.class_names, field),
        disagreements=sum(1 for label in labels.values() if label.disagreement),
        agreement=agreement_of(labels),
        labellers=tuple(labellers(catalog, inspection)),
        reviews=open_reviews(catalog, inspection),
        waiting=size.waiting,
        not_offered=size.not_offered,
        new_labels=sum(1 for label in field if label.serial > seen),
        defect_rate=rate_of(Truth.of(sample)),
        miss_rate=miss_rate(sample),
        miss_statement=miss_statement(sum(1 for item in passed if item.defect), len(passed)),
        nonresponse=sample.nonresponse,
        decisions=tuple(list_decisions(catalog, inspection, limit=50)),
        releases=tuple(list_releases(catalog, inspection, limit=50)),
        quarantine_newest=newest,
        last_label_at=max((label.at for label in labels.values()), default=None),
    )


def loop_statuses(catalog: Catalog) -> list[LoopStatus]:
    """Every inspection's loop, by name."""
    with catalog.reading() as session:
        names = list(session.scalars(select(InspectionRow.name).order_by(InspectionRow.name)))
    return [loop_status(catalog, name) for name in names]


def new_labels_since_snapshot(catalog: Catalog, inspection: str) -> int:
    """Field samples whose label no snapshot has seen: what starts a retrain."""
    with catalog.reading() as session:
        seen = labels_seen(session, inspection)
        touched = list(
            session.scalars(
                select(LabelEventRow.sample_id)
                .distinct()
                .where(LabelEventRow.inspection == inspection, LabelEventRow.serial > seen)
            )
        )
        field = _of_the_line(session, touched)
        labels = current_labels_in(session, sorted(field))
    return sum(1 for label in labels.values() if label.serial > seen)


def _sample_counts(session: Session, inspection: str) -> dict[str, Any]:
    query = (
        select(SampleRow.origin, SampleRow.counted, func.count())
        .where(SampleRow.inspection == inspection)
        .group_by(SampleRow.origin, SampleRow.counted)
    )
    counts = [(origin, bool(counted), int(n)) for origin, counted, n in session.execute(query)]
    return {
        "captured": sum(n for origin, _, n in counts if origin == "field"),
        "factory": sum(n for origin, _, n in counts if origin == "factory"),
        "counted": sum(n for _, counted, n in counts if counted),
    }


def _of_the_line(session: Session, sample_ids: Sequence[str]) -> set[str]:
    """Those of some samples that a device captured."""
    found: set[str] = set()
    for start in range(0, len(sample_ids), _BATCH):
        some = SampleRow.sample_id.in_(sample_ids[start : start + _BATCH])
        found.update(session.scalars(select(SampleRow.sample_id).where(some, SampleRow.origin == "field")))
    return found


def _window_totals(session: Session, inspection: str) -> dict[str, Any]:
    names = ("frames", "excluded", "overload", "missing", "uploaded_bytes")
    sums = [func.coalesce(func.sum(getattr(WindowRow, name)), 0) for name in names]
    row = session.execute(
        select(func.count(), func.max(WindowRow.ingested_at), *sums)
        .select_from(WindowRow)
        .where(WindowRow.inspection == inspection)
    ).one()
    totals = {name: int(value) for name, value in zip(names, row[2:], strict=True)}
    return {"windows": int(row[0]), "last_window_at": row[1], **totals}


def _numbers(session: Session, inspection: str) -> dict[str, Any]:
    def count(column: Any, *where: Any) -> int:
        return session.scalar(select(func.count(func.distinct(column))).where(*where)) or 0

    return {
        "flags": count(EventRow.event_id, EventRow.inspection == inspection, EventRow.kind == "flag"),
        "outcomes": count(OutcomeRow.event_id, OutcomeRow.inspection == inspection),
        "drawn": count(
            DrawItemRow.sample_id,
            DrawItemRow.drawn,
            DrawItemRow.draw_id == DrawRow.id,
            DrawRow.inspection == inspection,
        ),
        "cannot_tell": count(
            LabelEventRow.sample_id,
            LabelEventRow.inspection == inspection,
            LabelEventRow.kind == LabelKind.CANNOT_TELL.value,
        ),
        "drift_alarms": count(
            DriftAlarmRow.id, DriftAlarmRow.inspection == inspection, DriftAlarmRow.closed_at.is_(None)
        ),
        "quarantine": count(QuarantineRow.id, _quarantined(inspection)),
        "snapshots": count(SnapshotRow.id, SnapshotRow.inspection == inspection),
    }


def _quarantined(inspection: str) -> Any:
    # What cannot be read names no inspection: it is everybody's.
    return (QuarantineRow.inspection == inspection) | QuarantineRow.inspection.is_(None)


def _newest_quarantine(session: Session, inspection: str) -> tuple[QuarantineEntry, ...]:
    query = select(QuarantineRow).where(_quarantined(inspection)).order_by(QuarantineRow.id.desc()).limit(20)
    return tuple(
        QuarantineEntry(at=row.at, kind=row.kind, key=row.key, device=row.device, reason=row.reason, bytes=row.bytes)
        for row in session.scalars(query)
    )


def _first_devices(session: Session, inspection: str) -> tuple[int, list[str]]:
    """How many devices there are, and the names of those that are listed."""
    of_it = DeviceInspectionRow.inspection == inspection
    total = session.scalar(select(func.count()).select_from(DeviceInspectionRow).where(of_it)) or 0
    unwell = case((DeviceRow.revoked_at.is_(None) & (DeviceStatusRow.health != "ok"), 0), else_=1)
    names = session.scalars(
        select(DeviceInspectionRow.device)
        .join(DeviceRow, DeviceRow.name == DeviceInspectionRow.device)
        .outerjoin(DeviceStatusRow, DeviceStatusRow.device == DeviceInspectionRow.device)
        .where(of_it)
        .order_by(unwell, DeviceInspectionRow.device)
        .limit(MOST_DEVICES)
    )
    return total, list(names)


def _per_device(session: Session, inspection: str, names: Sequence[str]) -> dict[str, tuple[int, int, int, int]]:
    """Windows, frames, captured samples and bytes of some devices; what arrived of a window is what did not miss."""
    rows = session.execute(
        select(
            WindowRow.device,
            func.count(),
            func.coalesce(func.sum(WindowRow.frames), 0),
            func.coalesce(func.sum(WindowRow.manifest_entries - WindowRow.missing), 0),
            func.coalesce(func.sum(WindowRow.uploaded_bytes), 0),
        )
        .where(WindowRow.inspection == inspection, WindowRow.device.in_(names))
        .group_by(WindowRow.device)
    )
    return {device: (int(n), int(frames), int(arrived), int(sent)) for device, n, frames, arrived, sent in rows}


def _devices(
    catalog: Catalog, inspection: str, names: Sequence[str], per_device: Mapping[str, tuple[int, int, int, int]]
) -> tuple[DeviceState, ...]:
    states = []
    for name in names:
        windows, frames, captured, sent = per_device.get(name, (0, 0, 0, 0))
        device, status = get_device(catalog, name), device_status(catalog, name)
        states.append(
            DeviceState(
                device=device,
                channel=dict(device.inspections)[inspection],
                heartbeat=status.heartbeat if status else None,
                received_at=status.received_at if status else None,
                windows=windows,
                frames=frames,
                captured=captured,
                uploaded_bytes=sent,
            )
        )
    return tuple(states)


def _by_class(names: tuple[str, ...], labels: list[CurrentLabel]) -> dict[str, int]:
    counts = dict.fromkeys(names, 0)
    for label in labels:
        for name in label.classes:
            counts[name] = counts.get(name, 0) + 1
    return counts


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
