"""Taking samples out of the lake and the catalog, file by file.

1. Of a file that holds other samples too, a new one is made without those that go; the catalog's rows move there, the
   samples that go lose theirs, and the old file is noted to be deleted, in one transaction. Then it is deleted.
2. A process that is killed anywhere leaves either the old file and the old rows, or the new ones and a note.
3. A sample of a window that no draw was offered yet counts as missing from then on: the rest speaks for it. One that
   waits for a label is answered "cannot tell". What was drawn and labelled keeps its chance and its label.
4. With the sample go the mark of its image, copies for other tools, what a labeller noted of it, doubts of its label,
   and its quarantined twin.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import (
    DrawItemRow,
    EventRow,
    GoldenAskRow,
    LabelEventRow,
    LabelFlagRow,
    LabelReviewRow,
    LeaseRow,
    QuarantineRow,
    SampleRow,
    WindowRow,
)
from data.erasure.jobs import Erasure, ErasureKind, note, sweep
from data.erasure.left import take_frame, take_identity
from data.labels import LabelKind
from data.lake import Lake, LakeRow
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import NotFound

_BATCH = 500
SOURCE = "erasure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where samples are.

    Attributes:
        copies: Prefixes of copies that other tools read: each has `INSPECTION/SAMPLE` below it.
    """

    catalog: Catalog
    bucket: Bucket
    lake: Lake
    copies: tuple[str, ...] = ()


def erase_frames(stores: Stores, erasure: Erasure, sample_ids: Sequence[str], *, at: datetime) -> None:
    """Erase samples (rules 1 to 4); those that are erased already are passed over."""
    sweep(stores.catalog, stores.bucket, erasure)
    for path, ids in sorted(_by_file(stores.catalog, sample_ids).items()):
        moved = _kept_elsewhere(stores, path, set(ids))
        with stores.catalog.session() as session:
            for sample_id, (new_path, row) in moved.items():
                session.execute(
                    update(SampleRow).where(SampleRow.sample_id == sample_id).values(lake_path=new_path, lake_row=row)
                )
            rows = list(_rows(session, ids))
            keys = [path] if path else []
            for sample in rows:
                keys += _objects_of(session, stores, sample)
                _settle(session, sample, at)
            gone = [sample.sample_id for sample in rows]
            _forget_rows(session, gone)
            for sample in rows:
                take_frame(sample, at)
                if erasure.kind is not ErasureKind.EXPIRED:
                    take_identity(sample, erasure.pseudonym)
            size = sum(sample.image_bytes for sample in rows)
            note(session, erasure, {"samples": len(rows), "image_bytes": size}, delete_next=keys)
        sweep(stores.catalog, stores.bucket, erasure)


def _by_file(catalog: Catalog, sample_ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    with catalog.reading() as session:
        for row in _rows(session, sample_ids):
            found[row.lake_path].append(row.sample_id)
    return found


def _rows(session: Session, ids: Sequence[str]) -> Iterable[SampleRow]:
    for start in range(0, len(ids), _BATCH):
        some = SampleRow.sample_id.in_(ids[start : start + _BATCH])
        yield from session.scalars(select(SampleRow).where(some, SampleRow.erased_at.is_(None)))


def _kept_elsewhere(stores: Stores, path: str, going: set[str]) -> dict[str, tuple[str, int]]:
    """Rule 1: put those that stay into a file of their own; sample → its new place."""
    if not path:
        return {}
    try:
        stored = stores.lake.read_file(path)
    except NotFound:  # lost before: there is nothing to keep
        return {}
    with stores.catalog.reading() as session:
        here = {
            row.sample_id: row.inspection
            for row in _rows(session, [one.sample_id for one in stored])
            if row.lake_path == path and row.sample_id not in going
        }
    staying = [one for one in stored if one.sample_id in here]
    if not staying:
        return {}
    inspection, day = here[staying[0].sample_id], date.fromisoformat(path.split("/")[3])
    places = stores.lake.append(
        inspection,
        day,
        [
            LakeRow(
                sample_id=one.sample_id,
                image=one.image,
                media_type=one.media_type,
                embedding=one.embedding,
                anomaly_map=one.anomaly_map,
            )
            for one in staying
        ],
    )
    return {one.sample_id: (place.path, place.row) for one, place in zip(staying, places, strict=True)}


def _objects_of(session: Session, stores: Stores, sample: SampleRow) -> list[str]:
    """Rule 4, as far as it is in the bucket."""
    keys = [f"{prefix}{sample.inspection}/{sample.sample_id}" for prefix in stores.copies]
    twin = select(SampleRow.sample_id).where(
        SampleRow.inspection == sample.inspection,
        SampleRow.image_sha256 == sample.image_sha256,
        SampleRow.sample_id != sample.sample_id,
        SampleRow.erased_at.is_(None),
    )
    if sample.image_sha256 and session.scalar(twin.limit(1)) is None:
        keys.append(stores.lake.mark_key(sample.inspection, sample.image_sha256))
    aside = select(QuarantineRow.moved_to).where(
        QuarantineRow.sample_id == sample.sample_id, QuarantineRow.moved_to.is_not(None)
    )
    return [*keys, *(key for key in session.scalars(aside) if key)]


def _settle(session: Session, sample: SampleRow, at: datetime) -> None:
    """Rule 3."""
    if sample.counted and sample.device is not None:
        window = session.get_one(WindowRow, (sample.device, sample.epoch, sample.window))
        if window.draw_id is None:
            window.missing += 1
    waits = select(
        exists().where(DrawItemRow.sample_id == sample.sample_id, DrawItemRow.drawn)
        & ~exists().where(LabelEventRow.sample_id == sample.sample_id)
    )
    if session.scalar(waits):
        session.add(
            LabelEventRow(
                event_id=f"erased:{sample.sample_id}",
                sample_id=sample.sample_id,
                inspection=sample.inspection,
                kind=LabelKind.CANNOT_TELL.value,
                classes=[],
                who="andon",
                at=at,
                source=SOURCE,
            )
        )


def _forget_rows(session: Session, ids: Sequence[str]) -> None:
    """Rule 4, as far as it is in the catalog."""
    for start in range(0, len(ids), _BATCH):
        some = ids[start : start + _BATCH]
        for table in (LabelReviewRow, LabelFlagRow, LeaseRow, QuarantineRow):
            session.execute(delete(table).where(table.sample_id.in_(some)))
        session.execute(
            delete(GoldenAskRow).where(GoldenAskRow.sample_id.in_(some), GoldenAskRow.answered_at.is_(None))
        )
        session.execute(update(EventRow).where(EventRow.sample_id.in_(some)).values(reason=None, value=None))
