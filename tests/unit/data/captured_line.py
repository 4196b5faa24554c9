"""A line whose frames went through the first sampling stage: rows as ingest would commit them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from data.catalog import Catalog
from data.catalog.models import SampleRow, WindowRow
from data.devices import register_device
from data.inspections import create_inspection
from data.labels import record_label
from data.priority_sampling import priority_sample

T0 = datetime(2030, 1, 1, 8, 0, tzinfo=UTC)
INSPECTION = "solder"
KEY = "ab" * 32


def new_catalog(url: str, devices: tuple[str, ...] = ("line-1", "line-2")) -> Catalog:
    catalog = Catalog.open(url)
    create_inspection(catalog, INSPECTION, [("ok", "ok"), ("crack", "defect"), ("void", "defect")], at=T0)
    for device in devices:
        register_device(catalog, device, "plant", "oven", [INSPECTION], KEY, at=T0)
    return catalog


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'catalog.db'}"


@dataclass
class Line:
    """Streams frames of one device; remembers what each captured sample truly is."""

    catalog: Catalog
    rng: np.random.Generator
    device: str = "line-1"
    truth: dict[str, str] = field(default_factory=dict)
    frames: int = 0
    defects: int = 0
    windows: int = 0

    def stream(
        self,
        labels: list[str],
        weights: np.ndarray[Any, Any],
        keep: int,
        *,
        extra: str | None = None,
        lose: int = 0,
        excluded: int = 0,
        probability: float = 0.5,
        part: str | None = None,
    ) -> list[str]:
        """One window of `labels` with sampling weights, of which `keep` are captured and `lose` never arrive."""
        u = 1.0 - self.rng.random(len(labels))
        kept = priority_sample(weights.tolist(), u.tolist(), keep)
        window, self.windows = self.windows, self.windows + 1
        chosen = np.flatnonzero(kept.drawn)
        arrived = chosen[lose:]
        at = T0 + timedelta(minutes=5 * window)
        with self.catalog.session() as session:
            session.add(
                WindowRow(
                    device=self.device, epoch=1, window=window, inspection=INSPECTION, site="plant", station="oven",
                    opened_at=at, closed_at=at + timedelta(minutes=5), engine_ids=["e1"],
                    frames=len(labels) + excluded, weight_total=float(weights.sum()), threshold=kept.threshold,
                    byte_budget=1000, excluded=excluded, overload=0, class_counts={}, verdict_counts={}, histograms={},
                    runs=[], manifest_entries=len(chosen), manifest_counted=len(chosen),
                    manifest_inverse_p=float(np.sum(1 / kept.p[chosen])), missing=lose,
                    uploaded_bytes=100 * len(chosen),
                    record_sha256="0" * 64, ingested_at=at + timedelta(minutes=6),
                )
            )  # fmt: skip
            session.flush()
            ids = []
            for sequence, i in enumerate(arrived.tolist()):
                name = f"{self.device}/{window}/{i}"
                sample_id = hashlib.sha256(name.encode()).hexdigest()[:32]
                ids.append(sample_id)
                self.truth[sample_id] = labels[i]
                counted = extra is None
                session.add(
                    SampleRow(
                        sample_id=sample_id, inspection=INSPECTION, origin="field", device=self.device, station="oven",
                        epoch=1, window=window, sequence=window * 100_000 + sequence,
                        image_sha256=hashlib.sha256(sample_id.encode()).hexdigest(), lake_path="lake/solder/x.parquet",
                        lake_row=i, media_type="image/png", image_bytes=10, width=8, height=8,
                        weight=float(weights[i]), u=float(u[i]), p1=float(kept.p[i]) if counted else None,
                        counted=counted, extra=extra, reasons={}, run=i, run_length=1, part_id=part,
                        group=f"part:{name}", split="train", captured_at=at, ingested_at=at, engine_id="e1",
                        classes=["ok", "crack", "void"], probabilities=[1 - probability, probability, 0.0],
                        anomaly=0.1, verdict="ok", context={},
                    )
                )  # fmt: skip
        self.frames += len(labels)
        self.defects += sum(1 for label in labels if label != "ok")
        return ids

    def label(self, sample_id: str, *, who: str = "ann", at: datetime = T0, event_id: str | None = None) -> None:
        record_label(
            self.catalog, sample_id=sample_id, classes=[self.truth[sample_id]], who=who, at=at,
            event_id=event_id or f"{who}:{sample_id}",
        )  # fmt: skip


def factory_sample(catalog: Catalog, name: str, **values: Any) -> str:
    """One imported sample."""
    row: dict[str, Any] = {
        "sample_id": name, "inspection": INSPECTION, "origin": "factory", "image_sha256": "1" * 64,
        "lake_path": "lake/solder/f.parquet", "lake_row": 0, "media_type": "image/png", "image_bytes": 10,
        "counted": False, "reasons": {}, "group": f"part:{name}", "split": "train", "captured_at": T0,
        "ingested_at": T0, "classes": [], "probabilities": [], "context": {},
    }  # fmt: skip
    with catalog.session() as session:
        session.add(SampleRow(**{**row, **values}))
    return name
