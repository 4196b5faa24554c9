"""Windows whose frames an engine has judged: records with histograms, samples with verdicts, parts with outcomes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from data.catalog import Catalog
from data.catalog.models import OutcomeRow, SampleRow, WindowRow
from data.labels import NewLabel, record_labels
from data.priority_sampling import priority_sample
from edge_client.tally import Tally
from tests.unit.data.captured_line import INSPECTION, T0

CLASSES = ["ok", "crack", "void"]


@dataclass
class JudgedLine:
    """One device; remembers what each captured sample truly is."""

    catalog: Catalog
    rng: np.random.Generator
    device: str = "line-1"
    station: str = "oven"
    truth: dict[str, str] = field(default_factory=dict)
    part: dict[str, str] = field(default_factory=dict)
    windows: int = 0

    def stream(
        self, labels: Sequence[str], rows: np.ndarray[Any, Any], keep: int, *, tells: bool = True, at: datetime = T0
    ) -> list[str]:
        """One window of frames with the engine's probabilities [n, 3]; a frame is a defect from one half on."""
        rows = rows.astype(np.float32)
        bad = rows[:, 1] + rows[:, 2]
        verdicts = ["defect" if p >= 0.5 else "unsure" if p >= 0.3 else "ok" for p in bad.tolist()]
        weights = (1.0 - np.abs(2 * bad - 1)) ** 2 + 0.5 * bad + 0.2
        kept = priority_sample(weights.tolist(), (1.0 - self.rng.random(len(labels))).tolist(), keep)
        tally, window = Tally(), self.windows
        self.windows += 1
        for row, verdict in zip(rows.tolist(), verdicts, strict=True):
            tally.see(
                weight=1.0, label=CLASSES[int(np.argmax(row))], verdict=verdict, engine_id="e1", anomaly=0.1,
                margin=0.5, run=0, defect_probability=float(np.float32(row[1] + row[2])),
                likeliest_defect="crack" if row[1] >= row[2] else "void",
            )  # fmt: skip
        chosen = np.flatnonzero(kept.drawn).tolist()
        ids = [hashlib.sha256(f"{self.device}/{window}/{i}".encode()).hexdigest()[:32] for i in chosen]
        with self.catalog.session() as session:
            session.add(
                WindowRow(
                    device=self.device, epoch=1, window=window, inspection=INSPECTION, site="plant",
                    station=self.station, opened_at=at, closed_at=at + timedelta(minutes=5), engine_ids=["e1"],
                    frames=len(labels), weight_total=float(weights.sum()), threshold=kept.threshold, byte_budget=1000,
                    excluded=0, overload=0, class_counts={}, verdict_counts=dict(tally.verdicts) if tells else {},
                    histograms=tally.histograms() if tells else {}, runs=[], manifest_entries=len(chosen),
                    manifest_counted=len(chosen), manifest_inverse_p=float(np.sum(1 / kept.p[chosen])), missing=0,
                    uploaded_bytes=100, record_sha256="0" * 64, ingested_at=at,
                )
            )  # fmt: skip
            session.flush()
            for sequence, (i, sample_id) in enumerate(zip(chosen, ids, strict=True)):
                self.truth[sample_id] = labels[i]
                self.part[sample_id] = f"{self.device}-{window}-{i}"
                session.add(
                    SampleRow(
                        sample_id=sample_id, inspection=INSPECTION, origin="field", device=self.device,
                        station=self.station, epoch=1, window=window, sequence=window * 100_000 + sequence,
                        image_sha256=sample_id * 2, lake_path="lake/x.parquet", lake_row=i, media_type="image/png",
                        image_bytes=10, width=8, height=8, weight=float(weights[i]), u=1.0, p1=float(kept.p[i]),
                        counted=True, extra=None, reasons={}, run=i, run_length=1, part_id=self.part[sample_id],
                        group=f"part:{sample_id}", split="train", captured_at=at, ingested_at=at, engine_id="e1",
                        classes=CLASSES, probabilities=[float(p) for p in rows[i]], anomaly=0.1, verdict=verdicts[i],
                        context={},
                    )
                )  # fmt: skip
        return ids

    def label(self, ids: Sequence[str], *, who: str = "ann", said: str | None = None) -> None:
        """Label as the truth is, or as said."""
        labels = [
            NewLabel(sample_id=i, classes=[said or self.truth[i]], event_id=f"{who}:{i}:{said}") for i in ids
        ]  # fmt: skip
        record_labels(self.catalog, labels, who=who, at=T0, source="console")

    def report(self, sample_id: str, value: str, *, stage: str = "end-of-line", after_hours: float = 1.0) -> None:
        """An outcome of the sample's part."""
        at = T0 + timedelta(hours=after_hours)
        with self.catalog.session() as session:
            session.add(
                OutcomeRow(
                    event_id=f"{sample_id}{stage}{after_hours}"[:64], device=self.device, inspection=INSPECTION,
                    part_id=self.part[sample_id], value=value, stage=stage, at=at, ingested_at=at,
                )
            )  # fmt: skip


def judged(rng: np.random.Generator, frames: int, rate: float) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Frames of which some are cracks, some voids, and what a fair engine says of them."""
    kinds = rng.choice(3, frames, p=[1 - rate, rate * 0.6, rate * 0.4])
    logits = rng.normal(0, 1.0, (frames, 3)) + np.array([2.5, 0.0, 0.0]) + np.eye(3)[kinds] * [0, 4.0, 4.0]
    odds = np.exp(logits)
    return [CLASSES[k] for k in kinds], odds / odds.sum(axis=1, keepdims=True)
