"""The catalog transaction of some windows (rules 4–7 and 13 of the package)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import EventRow, OutcomeRow, SampleRow, WindowRow
from data.ingest.open_shard import GoodEvents, GoodSample
from data.ingest.plan import Rejected, first_stage, manifest_figures
from data.lake import LakeLocation
from data.policy import SplitPolicy
from data.quarantine import Kind, Quarantined, clean_text, record_quarantined
from data.split import group_of, side_of
from edge_client.contract.record import WindowRecord
from edge_client.contract.sample import Event

_BATCH = 500  # bound parameters of one statement; old SQLite builds take 999


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredSample:
    """A checked sample whose image is in the lake; the image itself is no longer held."""

    good: GoodSample
    location: LakeLocation
    image_sha256: str
    image_bytes: int


@dataclass(slots=True, kw_only=True)
class WindowContent:
    """All that is known of a window when it is committed."""

    record: WindowRecord
    record_key: str
    record_sha256: str
    samples: list[StoredSample] = field(default_factory=list)
    events: list[GoodEvents] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    uploaded_bytes: int = 0
    unopened: int = 0
    """Members that do not open with the cloud's identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What a commit added. All zero for a window that was there already."""

    new: bool
    samples: int = 0
    events: int = 0
    missing: int = 0
    quarantined: tuple[Quarantined, ...] = ()


def commit_windows(
    catalog: Catalog, contents: Sequence[WindowContent], *, split: SplitPolicy, at: datetime
) -> list[Committed]:
    """Add windows with everything in them, or nothing of any.

    Raises:
        Rejected: another record is in a window's place.
        sqlalchemy.exc.IntegrityError: another run added the same rows at this moment; try again.
    """
    with catalog.session() as session:
        return [_add_window(session, content, split, at) for content in contents]


def _add_window(session: Session, content: WindowContent, split: SplitPolicy, at: datetime) -> Committed:
    record = content.record
    existing = session.get(WindowRow, (record.device, record.epoch, record.window))
    if existing is not None:
        if existing.record_sha256 != content.record_sha256:
            raise conflict(existing.record_sha256, content.record_sha256)
        return Committed(new=False)
    known = _known_samples(session, [stored.good.entry.sample_id for stored in content.samples])
    fresh = [stored for stored in content.samples if stored.good.entry.sample_id not in known]
    bad = [*content.quarantined, *(_double(content, s) for s in content.samples if s.good.entry.sample_id in known)]
    promised = manifest_figures(record)
    missing = promised.entries - len(fresh)
    session.add(_window_row(content, missing=missing, at=at))
    session.flush()
    if fresh:  # by the table, not by objects: a tenth of the time
        lengths = dict(record.runs)
        rows = [_sample_row(record, stored, lengths, split, at) for stored in fresh]
        session.execute(insert(SampleRow.__table__), rows)  # type: ignore[arg-type]  # a Table, for the type checker a FromClause
    added, orphans = _add_events(session, content, at) if content.events else (0, [])
    bad += orphans
    for item in bad:
        record_quarantined(session, item, at=at)
    return Committed(new=True, samples=len(fresh), events=added, missing=missing, quarantined=tuple(bad))


def conflict(known: str, found: str) -> Rejected:
    """Rule 7: two different records for one window."""
    return Rejected(
        f"the window is in the catalog by another record (SHA-256 {known[:16]}…, this one {found[:16]}…): "
        "the device's state was copied or set back; give it a new epoch by enrolling it anew"
    )


def digest_of(document: bytes) -> str:
    """SHA-256 in hex, by which a record is recognised."""
    return hashlib.sha256(document).hexdigest()


def _window_row(content: WindowContent, *, missing: int, at: datetime) -> WindowRow:
    record, promised = content.record, manifest_figures(content.record)
    return WindowRow(
        device=record.device,
        epoch=record.epoch,
        window=record.window,
        inspection=record.inspection,
        site=record.site,
        station=record.station,
        opened_at=record.opened_at,
        closed_at=record.closed_at,
        engine_ids=list(record.engine_ids),
        frames=record.frames,
        weight_total=record.weight_total,
        threshold=record.threshold,
        byte_budget=record.byte_budget,
        excluded=record.excluded,
        overload=record.overload,
        class_counts={clean_text(name): count for name, count in record.class_counts.items()},
        verdict_counts={clean_text(name): count for name, count in record.verdict_counts.items()},
        histograms={clean_text(name): value for name, value in record.histograms.items()},
        runs=[list(pair) for pair in record.runs],
        manifest_entries=promised.entries,
        manifest_counted=promised.counted,
        manifest_inverse_p=promised.inverse_p,
        missing=missing,
        uploaded_bytes=content.uploaded_bytes,
        record_sha256=content.record_sha256,
        ingested_at=at,
    )


def _sample_row(
    record: WindowRecord, stored: StoredSample, lengths: dict[int, int], split: SplitPolicy, at: datetime
) -> dict[str, Any]:
    entry, blob = stored.good.entry, stored.good.blob
    part_id = clean_text(blob.part_id) if blob.part_id else None
    context = {clean_text(name): _storable(value) for name, value in blob.context.items()}
    group = group_of(part_id=part_id, device=record.device, captured_at=blob.captured_at, context=context)
    chance = first_stage(entry, record.threshold)
    return {
        "sample_id": entry.sample_id,
        "inspection": record.inspection,
        "origin": "field",
        "device": record.device,
        "station": record.station,
        "epoch": record.epoch,
        "window": record.window,
        "sequence": entry.sequence,
        "image_sha256": stored.image_sha256,
        "lake_path": stored.location.path,
        "lake_row": stored.location.row,
        "media_type": blob.media_type,
        "image_bytes": stored.image_bytes,
        "width": stored.good.size.width,
        "height": stored.good.size.height,
        "weight": entry.weight,
        "u": entry.u,
        "p1": chance,
        "counted": chance is not None,
        "extra": entry.extra,
        "reasons": {clean_text(name): value for name, value in entry.reasons.items()},
        "run": entry.run if entry.run >= 0 else None,
        "run_length": lengths.get(entry.run) if entry.run >= 0 else None,
        "part_id": part_id,
        "group": group,
        "split": side_of(group, inspection=record.inspection, origin="field", policy=split),
        "captured_at": blob.captured_at,
        "ingested_at": at,
        "engine_id": blob.engine_id,
        "classes": list(blob.classes),
        "probabilities": [float(p) for p in blob.probabilities],
        "anomaly": blob.anomaly,
        "verdict": blob.verdict.value,
        "context": context,
    }


def _add_events(session: Session, content: WindowContent, at: datetime) -> tuple[int, list[Quarantined]]:
    """Add flags and outcomes. An outcome is joined by part id: by its sample's, if it names only that."""
    events = {event.event_id: event for good in content.events for event in good.blob.events}
    known = {*_known(session, EventRow.event_id, events), *_known(session, OutcomeRow.event_id, events)}
    fresh = [event for event in events.values() if event.event_id not in known]
    parts = _parts_of_samples(session, [event.sample_id for event in fresh if event.sample_id and not event.part_id])
    orphans: list[Quarantined] = []
    for event in fresh:
        part_id = event.part_id or parts.get(event.sample_id or "")
        if event.kind == "flag":
            session.add(_flag_row(content.record, event, part_id, at))
        elif part_id:
            session.add(_outcome_row(content.record, event, part_id, at))
        else:
            orphans.append(
                Quarantined(
                    kind=Kind.SAMPLE,
                    key=content.record_key,
                    member=event.event_id,
                    device=content.record.device,
                    inspection=content.record.inspection,
                    sample_id=event.sample_id,
                    reason=f"outcome {event.value!r} names no part, and its sample is unknown or has none",
                )
            )
    session.flush()
    return len(fresh) - len(orphans), orphans


def _flag_row(record: WindowRecord, event: Event, part_id: str | None, at: datetime) -> EventRow:
    return EventRow(
        event_id=event.event_id,
        device=record.device,
        inspection=record.inspection,
        kind=event.kind,
        at=event.at,
        sample_id=event.sample_id,
        part_id=clean_text(part_id) if part_id else None,
        value=clean_text(event.value) or None,
        reason=clean_text(event.reason) or None,
        ingested_at=at,
    )


def _outcome_row(record: WindowRecord, event: Event, part_id: str, at: datetime) -> OutcomeRow:
    return OutcomeRow(
        event_id=event.event_id,
        device=record.device,
        inspection=record.inspection,
        part_id=clean_text(part_id),
        value=clean_text(event.value),
        stage=clean_text(event.stage)[:128] or None,
        at=event.at,
        ingested_at=at,
    )


def _double(content: WindowContent, stored: StoredSample) -> Quarantined:
    entry = stored.good.entry
    return Quarantined(
        kind=Kind.SAMPLE,
        key=content.record_key,
        member=entry.name,
        device=content.record.device,
        inspection=content.record.inspection,
        sample_id=entry.sample_id,
        reason=f"sample id {entry.sample_id} is in the catalog already, from another window; its image is at "
        f"{stored.location.path} row {stored.location.row}",
        moved_to=stored.location.path,
        bytes=entry.bytes,
    )


def _known_samples(session: Session, ids: Sequence[str]) -> set[str]:
    return _known(session, SampleRow.sample_id, ids)


def _known(session: Session, column: object, ids: Iterable[str]) -> set[str]:
    wanted, found = list(ids), set[str]()
    for start in range(0, len(wanted), _BATCH):
        found.update(session.scalars(select(column).where(column.in_(wanted[start : start + _BATCH]))))  # type: ignore[call-overload, attr-defined]  # a mapped str column
    return found


def _parts_of_samples(session: Session, ids: Sequence[str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for start in range(0, len(ids), _BATCH):
        query = select(SampleRow.sample_id, SampleRow.part_id).where(
            SampleRow.sample_id.in_(ids[start : start + _BATCH]), SampleRow.part_id.is_not(None)
        )
        parts.update({sample_id: part_id for sample_id, part_id in session.execute(query) if part_id})
    return parts


def _storable(value: float | str) -> float | str:
    """JSON columns take neither infinities nor NUL; such a value is kept as text."""
    if isinstance(value, str):
        return clean_text(value)
    return value if math.isfinite(value) else str(value)
