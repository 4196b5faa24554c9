"""Valid documents of every kind, made by the product's own writers; the same in every run."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from functools import cache

import numpy as np
from PIL import Image

from edge_client.contract.decision import Verdict
from edge_client.contract.record import ManifestEntry, ShardEntry, WindowRecord
from edge_client.contract.sample import Event, EventsBlob, SampleBlob

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEVICE, INSPECTION = "line-1", "solar-cells"


@cache
def images() -> tuple[bytes, ...]:
    """PNG, JPEG and WebP files, some bytes to a kilobyte each, of the modes that cameras and tools write."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    rgb = Image.fromarray(pixels)
    grey, cmyk, rgba = rgb.convert("L"), rgb.convert("CMYK"), rgb.convert("RGBA")
    return (
        *(_encode(image, "PNG") for image in (rgb, grey, rgb.convert("P"), rgba, rgb.convert("1"))),
        *(_encode(image, "JPEG") for image in (rgb, grey, cmyk)),
        _encode(rgb, "JPEG", progressive=True),
        *(_encode(image, "WEBP", lossless=True) for image in (rgb, rgba)),
        _encode(rgb, "WEBP"),
    )


def _encode(image: Image.Image, kind: str, **options: bool) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sample(image: bytes, media_type: str = "image/png", number: int = 0) -> SampleBlob:
    """One captured frame."""
    return SampleBlob(
        sample_id=f"{number:032x}",
        inspection=INSPECTION,
        device=DEVICE,
        station="el-1",
        engine_id="e1",
        media_type=media_type,
        image=image,
        captured_at=NOW,
        part_id="A-1042",
        context={"humidity": 0.41, "recipe": "B"},
        classes=("ok", "crack"),
        probabilities=np.array([0.25, 0.75], np.float32),
        anomaly=1.25,
        verdict=Verdict.DEFECT,
        embedding=np.arange(5, dtype=np.float16),
        anomaly_map=np.ones((2, 3), np.float16),
    )


def events() -> EventsBlob:
    """A flag and an outcome."""
    return EventsBlob(
        events=(
            Event(event_id="b" * 32, kind="outcome", at=NOW, part_id="A-1", value="failed", stage="end-of-line"),
            Event(event_id="c" * 32, kind="flag", at=NOW, sample_id="0" * 32, reason="scratch, model says ok"),
        )
    )


@cache
def blobs() -> tuple[bytes, ...]:
    """Plain blobs: a sample of each media type, and events."""
    png, jpeg, webp = images()[0], images()[5], images()[9]
    named = ((png, "image/png"), (jpeg, "image/jpeg"), (webp, "image/webp"))
    return (*(sample(image, kind, n).pack() for n, (image, kind) in enumerate(named)), events().pack())


def record(manifest: tuple[ManifestEntry, ...] | None = None, shard: ShardEntry | None = None) -> WindowRecord:
    """A window record; by default of two samples and a list of events."""
    entries = manifest or tuple(
        ManifestEntry(
            sample_id=f"{n:032x}",
            sequence=n,
            shard=0,
            name=f"{n}.age",
            sha256=f"{n:064x}",
            bytes=100 + n,
            weight=0.5,
            u=0.25,
            run=1,
            reasons={"uncertain": 0.8, "audit": 0.2},
            extra=extra,
        )
        for n, extra in enumerate((None, "flag", "events"))
    )
    return WindowRecord(
        device=DEVICE,
        site="plant",
        station="el-1",
        inspection=INSPECTION,
        epoch=1,
        window=7,
        opened_at=NOW,
        closed_at=NOW,
        engine_ids=("e1",),
        frames=5,
        weight_total=2.5,
        threshold=0.75,
        byte_budget=1000,
        excluded=0,
        overload=0,
        class_counts={"ok": 4, "crack": 1},
        verdict_counts={"ok": 5},
        histograms={"anomaly": {"edges": [0.0, 0.5, 1.0], "counts": [4, 1]}},
        runs=((1, 2),),
        manifest=entries,
        shards=(shard or ShardEntry(n=0, sha256="c" * 64, bytes=10240),),
    )
