"""Days of a device as ingest would commit them: windows with their records, samples with images in a lake."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from PIL import Image
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import SampleRow, WindowRow
from data.lake import Lake, LakeRow

T0 = datetime(2030, 1, 1, 6, 0, tzinfo=UTC)
INSPECTION = "solder"
KEPT, FRAMES = 12, 600


@dataclass
class Days:
    """One device's days, three windows each."""

    catalog: Catalog
    lake: Lake
    device: str = "line-1"
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))
    day: int = 0
    window: int = 0
    picture: Callable[[np.random.Generator, float], bytes] = field(default_factory=lambda: _png)

    def pass_by(
        self, count: int, *, gain: float = 1.0, cracks: float = 0.02, engine: str = "e1", broken: bool = False
    ) -> None:
        """Let days pass."""
        with self.catalog.session() as session:
            for _ in range(count):
                for part in range(3):
                    at = T0 + timedelta(days=self.day, hours=4 * part)
                    self._window(session, at, gain, cracks, engine, broken)
                self.day += 1

    def _window(self, session: Session, at: datetime, gain: float, cracks: float, engine: str, broken: bool) -> None:
        rng = self.rng
        today = gain * (1 + 0.005 * rng.standard_normal())
        images = [self.picture(rng, today) for _ in range(KEPT)]
        if broken:
            images[0] = b"no image"
        names = [hashlib.sha256(f"{self.device}/{self.window}/{i}".encode()).hexdigest()[:32] for i in range(KEPT)]
        rows = [
            LakeRow(
                sample_id=name, image=image, media_type="image/png",
                embedding=rng.standard_normal(8).astype(np.float16),
            )
            for name, image in zip(names, images, strict=True)
        ]  # fmt: skip
        places = self.lake.append(INSPECTION, at.date(), rows)
        bad = int(rng.binomial(FRAMES, cracks))
        session.add(
            WindowRow(
                device=self.device, epoch=1, window=self.window, inspection=INSPECTION, site="plant",
                station="oven", opened_at=at, closed_at=at + timedelta(hours=3), engine_ids=[engine],
                frames=FRAMES, weight_total=float(FRAMES), threshold=50.0, byte_budget=1, excluded=0, overload=0,
                class_counts={"ok": FRAMES - bad, "crack": bad}, verdict_counts={"ok": FRAMES}, histograms={},
                runs=[], manifest_entries=KEPT, manifest_counted=KEPT, manifest_inverse_p=float(FRAMES), missing=0,
                uploaded_bytes=1, record_sha256="0" * 64, ingested_at=at + timedelta(hours=3),
            )
        )  # fmt: skip
        session.flush()
        for i, (name, place) in enumerate(zip(names, places, strict=True)):
            session.add(
                SampleRow(
                    sample_id=name, inspection=INSPECTION, origin="field", device=self.device, station="oven",
                    epoch=1, window=self.window, sequence=self.window * 100 + i, image_sha256="0" * 64,
                    lake_path=place.path, lake_row=place.row, media_type="image/png", image_bytes=1, weight=1.0,
                    u=0.01, p1=0.02, counted=True, reasons={"audit": 1.0}, run=i, run_length=1,
                    group=name, split="train", captured_at=at + timedelta(minutes=i), ingested_at=at,
                    engine_id=engine, classes=["ok", "crack"], probabilities=[0.9, 0.1], anomaly=0.1, verdict="ok",
                    context={},
                )
            )  # fmt: skip
        self.window += 1


def _png(rng: np.random.Generator, gain: float) -> bytes:
    pixels = gain * (110 + 4 * rng.standard_normal()) + 6 * rng.standard_normal((40, 40))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
