"""Snapshots without the rows that are erased.

1. A snapshot keeps its id, by which runs and decisions name it; the catalog says what is left of it and how many rows
   are gone. It is the only way in which a snapshot can become another one.
2. The catalog says so first, then the table takes the place of the whole one: in between both are believed.
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.models import SnapshotRow
from data.erasure.jobs import Erasure, note
from data.inspections import Inspection
from data.lake import Lake
from data.snapshots import classes_of, content_id
from edge_client.contract.errors import NotFound


def snapshots_with(catalog: Catalog, lake: Lake, inspection: str, sample_ids: Collection[str]) -> dict[str, int]:
    """Which snapshots of an inspection hold some of these samples, and how many."""
    wanted, found = pa.array(sorted(sample_ids), pa.string()), {}
    with catalog.reading() as session:
        rows = list(session.scalars(select(SnapshotRow).where(SnapshotRow.inspection == inspection)))
    for row in rows:
        try:
            held = pc.sum(pc.is_in(lake.read_table(row.path, ["sample_id"])["sample_id"], value_set=wanted)).as_py()
        except NotFound:
            continue
        if held:
            found[row.id] = int(held)
    return found


def take_rows(
    catalog: Catalog, lake: Lake, erasure: Erasure, inspection: str, sample_ids: Collection[str]
) -> dict[str, int]:
    """Take samples out of every snapshot of an inspection; returns from which, and how many rows (rules 1 and 2)."""
    wanted = pa.array(sorted(sample_ids), pa.string())
    changed = snapshots_with(catalog, lake, inspection, sample_ids)
    for snapshot_id, held in changed.items():
        with catalog.reading() as session:
            row = session.get_one(SnapshotRow, snapshot_id)
        table = lake.read_table(row.path)
        left = table.filter(pc.invert(pc.is_in(table["sample_id"], value_set=wanted)))
        info = Inspection(name=inspection, classes=classes_of(row.classes))
        with catalog.session() as session:
            stored = session.get_one(SnapshotRow, snapshot_id)
            if stored.left_id != (left_id := content_id(info, left.to_pylist())):
                stored.left_id, stored.erased = left_id, stored.rows - left.num_rows
                note(session, erasure, {"snapshots": 1, "snapshot_rows": held})
        lake.put_table(row.path, left)
    return changed
