"""What is left of a sample: every column of its row is decided here.

`expired` takes the frame alone; `forgotten` takes all that says of what, of whom or exactly when it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from data.catalog.models import SampleRow

#: Numbers and names of things that are not the part: rates, the fleet's figures and the second delivery rest on them.
NUMBERS = frozenset({
    "sample_id", "inspection", "origin", "device", "station", "epoch", "window", "sequence", "media_type", "width",
    "image_bytes", "height", "weight", "u", "p1", "counted", "reasons", "run", "run_length", "split",
    "stage", "ingested_at", "engine_id", "classes", "probabilities", "anomaly", "verdict", "erased_at",
})  # fmt: skip
#: Where the frame is.
FRAME = frozenset({"lake_path", "lake_row", "extra"})
#: What it is of.
IDENTITY = frozenset({"image_sha256", "part_id", "group", "context", "source_path", "captured_at"})


def take_frame(row: SampleRow, at: datetime) -> None:
    """Take the frame: nobody is offered the sample any more."""
    row.lake_path, row.lake_row, row.extra, row.erased_at = "", 0, None, at


def take_identity(row: SampleRow, pseudonym: str) -> None:
    """Take what it is of. Samples of one part stay together, under a name that says nothing."""
    row.image_sha256, row.context, row.source_path = "", {}, None
    row.part_id = None if row.part_id is None else pseudonym
    row.group = f"erased:{pseudonym}"
    row.captured_at = row.captured_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def facts_of(row: SampleRow) -> Mapping[str, Any]:
    """What must be known of a sample after its row does not tell it any more."""
    return {"sample_id": row.sample_id, "inspection": row.inspection, "image_sha256": row.image_sha256}
