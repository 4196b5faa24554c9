"""Labelled samples put straight into the catalog, for tests that only count them."""

from __future__ import annotations

from datetime import UTC, datetime

from data.catalog.models import LabelEventRow, SampleRow
from data.workspace import Workspace


def add_labelled_samples(workspace: Workspace, inspection: str, count: int) -> None:
    """Put labelled samples into the catalog."""
    now = datetime.now(UTC)
    with workspace.catalog().session() as session:
        for i in range(count):
            sample = f"{inspection}-{i}"
            session.add(
                SampleRow(
                    sample_id=sample, inspection=inspection, origin="factory", image_sha256="0" * 64, lake_path="x",
                    lake_row=i, media_type="image/png", image_bytes=1, reasons={}, group=sample, split="train",
                    captured_at=now, ingested_at=now, classes=[], probabilities=[], context={},
                )
            )  # fmt: skip
            session.flush()
            session.add(
                LabelEventRow(
                    event_id=sample, sample_id=sample, inspection=inspection, kind="label", classes=["ok"], who="a",
                    at=now, source="test",
                )
            )  # fmt: skip
