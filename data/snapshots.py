"""Snapshots: what a model was trained on, for ever.

1. A snapshot is immutable and named by its content: the same labels give the same id, on any machine. Only an
   erasure takes rows out of one (``data.erasure.frozen``); it keeps its id.
2. Rows are the labelled samples whose label is one class of the inspection, sorted by sample id. What is
   left out is counted by reason (``several_classes``, ``unknown_class``, ``over_cap``, ``erased``).
3. ``split`` is the group's side. While fewer field samples are labelled than policy's ``cross_fit_below``,
   field rows are all ``train``: then the gate's field evidence is cross-fitted, and nothing is wasted.
4. At most ``max_rows_per_device`` training rows come from one device; which ones is decided by a salted
   hash, so that a device cannot choose and a row does not come and go.
5. ``probability`` = p₁·p₂, null where there is none (factory samples, extras, never offered).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import pyarrow as pa
from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DrawItemRow, DrawRow, LabelEventRow, SampleRow, SnapshotRow
from data.inspections import Inspection, inspection_in
from data.labels import CurrentLabel, current_labels_in
from data.policy import Policy
from data.sample_conditions import of_inspection
from data.split import Split
from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.errors import AndonError

SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("image_sha256", pa.string()),
        ("label", pa.string()),
        ("origin", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("device", pa.string()),
        ("station", pa.string()),
        ("part_id", pa.string()),
        ("captured_at", pa.timestamp("us", tz="UTC")),
        ("p1", pa.float64()),
        ("p2", pa.float64()),
        ("probability", pa.float64()),
        ("run_length", pa.int64()),
        ("engine_id", pa.string()),
        ("verdict", pa.string()),
        ("disagreement", pa.bool_()),
        ("lake_path", pa.string()),
        ("lake_row", pa.int64()),
    ]
)

_KEPT = (
    *("sample_id", "image_sha256", "origin", "split", "group", "device", "station", "part_id", "captured_at"),
    *("p1", "counted", "run_length", "engine_id", "verdict", "lake_path", "lake_row", "erased_at"),
)
_BATCH = 500  # SQLite's limit on parameters of one statement is 999 in old builds


class SnapshotError(AndonError):
    """A snapshot is unknown, or there is nothing to take one of."""


class TableStore(Protocol):
    """Where snapshots are kept; :class:`data.lake.Lake` is one."""

    def put_table(self, path: str, table: pa.Table) -> None:
        """Store a table."""

    def get_table(self, path: str) -> pa.Table:
        """Read a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One training set.

    Attributes:
        id: Hash of the content, 64 hex digits.
        rows: Table of :data:`SCHEMA`, sorted by sample id.
        counts: ``{"factory/train/ok": rows, …, "left_out/<reason>": samples}``.
        path: In the lake.
    """

    id: str
    inspection: str
    classes: tuple[ClassInfo, ...]
    rows: pa.Table
    counts: Mapping[str, int]
    created_at: datetime
    path: str


def take_snapshot(
    catalog: Catalog,
    lake: TableStore,
    inspection: str,
    *,
    at: datetime | None = None,
    policy: Policy | None = None,
) -> Snapshot:
    """Freeze what is labelled now. Taking the same again gives the same snapshot.

    Args:
        catalog: The catalog.
        lake: Where the table is stored, before the catalog names it.
        inspection: Its name.
        at: When; defaults to now.
        policy: Caps and split; defaults to the defaults.

    Raises:
        InspectionError: unknown inspection.
        SnapshotError: nothing is labelled.
    """
    policy = policy or Policy()
    with catalog.reading() as session:
        info = inspection_in(session, inspection)
        rows, left_out = _rows(session, info, policy)
        serial = session.scalar(select(func.max(LabelEventRow.serial))) or 0
    if not rows:
        raise SnapshotError(
            f"inspection {inspection!r} has no labelled sample to train on; import a folder with `andon init` or "
            "label in the console first"
        )
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    snapshot_id = content_id(info, rows)
    path = f"lake/{inspection}/snapshots/{snapshot_id}.parquet"
    counts = Counter(f"{row['origin']}/{row['split']}/{row['label']}" for row in rows)
    counts.update({f"left_out/{reason}": number for reason, number in left_out.items()})
    with catalog.reading() as session:
        stored = session.get(SnapshotRow, snapshot_id) is not None
    if not stored:
        lake.put_table(path, table)
    with catalog.session() as session:
        known = session.get(SnapshotRow, snapshot_id)
        if known is None:
            known = SnapshotRow(
                id=snapshot_id,
                inspection=inspection,
                created_at=at or datetime.now(UTC),
                classes=_classes_json(info),
                path=path,
                rows=len(rows),
                counts=dict(counts),
                label_serial=0,
            )
            session.add(known)
        known.label_serial = max(known.label_serial, serial)
    return _snapshot(known, table)


def load_snapshot(catalog: Catalog, lake: TableStore, snapshot_id: str) -> Snapshot:
    """A snapshot by its id; its content is checked against the id.

    Raises:
        SnapshotError: unknown id, or the table in the lake is not what the id says.
        BucketError: the lake cannot be read.
    """
    with catalog.reading() as session:
        row = session.get(SnapshotRow, snapshot_id)
    if row is None:
        raise SnapshotError(f"snapshot {snapshot_id!r} is unknown to this catalog")
    table = lake.get_table(row.path)
    info = Inspection(name=row.inspection, classes=classes_of(row.classes))
    if not table.schema.equals(SCHEMA) or content_id(info, table.to_pylist()) not in (snapshot_id, row.left_id):
        raise SnapshotError(
            f"snapshot {snapshot_id!r}: {row.path} does not have that content; restore it from a backup"
        )
    return _snapshot(row, table)


def latest_snapshot_id(catalog: Catalog, inspection: str) -> str | None:
    """Id of the snapshot that has seen the newest labels of an inspection."""
    with catalog.reading() as session:
        query = select(SnapshotRow.id).where(SnapshotRow.inspection == inspection)
        newest = query.order_by(SnapshotRow.label_serial.desc(), SnapshotRow.created_at.desc(), SnapshotRow.id)
        return session.scalars(newest).first()


def content_id(inspection: Inspection, rows: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 over the inspection, its classes and every row, independent of Parquet's encoding."""
    digest = hashlib.sha256()
    head = {"format": 1, "inspection": inspection.name, "classes": _classes_json(inspection)}
    digest.update(json.dumps(head, sort_keys=True, separators=(",", ":")).encode())
    for row in rows:
        plain = {name: _plain(row[name]) for name in SCHEMA.names}
        digest.update(b"\n" + json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())
    return digest.hexdigest()


def _rows(session: Session, info: Inspection, policy: Policy) -> tuple[list[dict[str, Any]], Counter[str]]:
    labels = current_labels_in(session, inspection=info.name)
    drawn = (
        select(DrawItemRow.sample_id, DrawItemRow.p2)
        .join(DrawRow, DrawRow.id == DrawItemRow.draw_id)
        .where(DrawRow.inspection == info.name, DrawItemRow.extra.is_(False), DrawItemRow.drawn)
    )
    second: dict[str, float | None] = dict(session.execute(drawn).tuples().all())
    left_out: Counter[str] = Counter()
    kept: list[tuple[Row[Any], CurrentLabel]] = []
    for sample in _labelled(session, info.name, sorted(labels)):
        label = labels[sample.sample_id]
        if sample.erased_at is not None:
            left_out["erased"] += 1
        elif len(label.classes) != 1:
            left_out["several_classes"] += 1
        elif label.classes[0] not in info.class_names:
            left_out["unknown_class"] += 1
        else:
            kept.append((sample, label))
    field = sum(1 for sample, _ in kept if sample.origin == "field")
    cross_fit = field < policy.split.cross_fit_below
    rows = [_row(sample, label, second.get(sample.sample_id), cross_fit) for sample, label in kept]
    capped = _cap(rows, policy.snapshot.max_rows_per_device, policy.split.salt)
    left_out["over_cap"] += len(rows) - len(capped)
    return capped, +left_out


def _labelled(session: Session, inspection: str, sample_ids: Sequence[str]) -> Iterator[Row[Any]]:
    """What a snapshot keeps of some samples, in their order: a catalog has a hundred samples for each label."""
    columns = [getattr(SampleRow, name) for name in _KEPT]
    for start in range(0, len(sample_ids), _BATCH):
        some = SampleRow.sample_id.in_(sample_ids[start : start + _BATCH])
        yield from session.execute(
            select(*columns).where(some, of_inspection(inspection)).order_by(SampleRow.sample_id)
        )


def _row(sample: Row[Any], label: CurrentLabel, p2: float | None, cross_fit: bool) -> dict[str, Any]:
    both = sample.p1 is not None and p2 is not None and sample.counted
    return {
        "sample_id": sample.sample_id,
        "image_sha256": sample.image_sha256,
        "label": label.classes[0],
        "origin": sample.origin,
        "split": Split.TRAIN.value if cross_fit and sample.origin == "field" else sample.split,
        "group": sample.group,
        "device": sample.device,
        "station": sample.station,
        "part_id": sample.part_id,
        "captured_at": sample.captured_at,
        "p1": sample.p1,
        "p2": p2,
        "probability": sample.p1 * p2 if both and sample.p1 is not None and p2 is not None else None,
        "run_length": sample.run_length,
        "engine_id": sample.engine_id,
        "verdict": sample.verdict,
        "disagreement": label.disagreement,
        "lake_path": sample.lake_path,
        "lake_row": sample.lake_row,
    }


def _cap(rows: list[dict[str, Any]], most: int, salt: str) -> list[dict[str, Any]]:
    by_device: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["origin"] == "field" and row["split"] == Split.TRAIN.value:
            by_device[row["device"]].append(row)
    dropped: set[str] = set()
    for device_rows in by_device.values():
        if len(device_rows) > most:
            order = sorted(
                device_rows, key=lambda row: hashlib.sha256(f"{salt}\x00cap\x00{row['sample_id']}".encode()).digest()
            )
            dropped.update(row["sample_id"] for row in order[most:])
    return [row for row in rows if row["sample_id"] not in dropped]


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def _classes_json(info: Inspection) -> list[dict[str, str]]:
    return [{"name": item.name, "kind": item.kind.value} for item in info.classes]


def classes_of(value: Sequence[Mapping[str, str]]) -> tuple[ClassInfo, ...]:
    """Read classes as a snapshot's row has them."""
    return tuple(ClassInfo(name=item["name"], kind=Kind(item["kind"])) for item in value)


def _snapshot(row: SnapshotRow, table: pa.Table) -> Snapshot:
    return Snapshot(
        id=row.id,
        inspection=row.inspection,
        classes=classes_of(row.classes),
        rows=table,
        counts=dict(row.counts),
        created_at=row.created_at,
        path=row.path,
    )
