"""Which samples are labelled, and how: as people see it now, or as a snapshot froze it.

1. Sorted by where the images are: neighbours in the lake are read one after the other, and each part of it once.
2. The current label is the newest that stands (:mod:`data.current_labels`); a snapshot's is the one it froze.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.exports.values import Labelled
from data.labels import CurrentLabel, current_labels_in
from data.sample_conditions import kept
from data.snapshots import Snapshot

_BATCH = 500


def labelled_now(
    catalog: Catalog, inspection: str, *, side: str | None = None, origin: str | None = None
) -> list[Labelled]:
    """The labelled samples of an inspection as they stand.

    Args:
        catalog: The catalog.
        inspection: Its name.
        side: Only this side of the split.
        origin: Only ``factory`` or ``field`` samples.
    """
    with catalog.reading() as session:
        labels = current_labels_in(session, inspection=inspection)
        found = [_now(row, labels[row.sample_id]) for row in _rows(session, list(labels))]
    return _ordered(found, side, origin)


def labelled_of_snapshot(
    catalog: Catalog, snapshot: Snapshot, *, side: str | None = None, origin: str | None = None
) -> list[Labelled]:
    """The samples of a snapshot with the labels and sides that it froze; erased ones are gone."""
    frozen = {row["sample_id"]: row for row in snapshot.rows.to_pylist()}
    with catalog.reading() as session:
        found = [_frozen(row, frozen[row.sample_id]) for row in _rows(session, list(frozen))]
    return _ordered(found, side, origin)


def _rows(session: Session, ids: list[str]) -> Iterator[SampleRow]:
    for start in range(0, len(ids), _BATCH):
        some = SampleRow.sample_id.in_(ids[start : start + _BATCH])
        yield from session.scalars(select(SampleRow).where(some, kept()))


def _now(row: SampleRow, label: CurrentLabel) -> Labelled:
    return Labelled(classes=label.classes, by=label.by, at=label.at, side=row.split, **_facts(row))


def _frozen(row: SampleRow, frozen: Mapping[str, Any]) -> Labelled:
    return Labelled(classes=(frozen["label"],), by="", at=None, side=frozen["split"], **_facts(row))


def _facts(row: SampleRow) -> dict[str, Any]:
    same = ("sample_id", "group", "origin", "image_sha256", "media_type", "width", "height", "captured_at")
    more = ("part_id", "station", "device", "lake_path", "lake_row")
    return {name: getattr(row, name) for name in (*same, *more)}


def _ordered(found: list[Labelled], side: str | None, origin: str | None) -> list[Labelled]:
    wanted = [one for one in found if side in (None, one.side) and origin in (None, one.origin)]
    return sorted(wanted, key=lambda one: (one.lake_path, one.lake_row, one.sample_id))
