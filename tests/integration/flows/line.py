"""A small production line for tests of retrain: drawn parts, some scratched; a factory set and a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from data.draws import draw
from data.imports import import_samples
from data.inspections import create_inspection
from data.labels import NewLabel, record_labels
from data.sources.sample import SourceSample, Stage
from data.workspace import Workspace
from edge_client.contract.sample import SampleBlob
from flows.ingest import ingest_once
from tests.unit.ingest.uploads import INSPECTION, Uploader, put, set_up

CLASSES = ("ok", "crack")


def part(seed: int, *, cracked: bool, field: bool) -> bytes:
    """A PNG of a part: noise, with a dark scratch if cracked; field parts are darker and striped."""
    random = np.random.default_rng(seed)
    base = np.full((96, 96, 3), 120 if field else 180, np.float64)
    if field:
        base[::8] -= 25
    pixels = np.clip(base + random.normal(0, 10, base.shape), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    if cracked:
        x, y = random.integers(10, 40, 2)
        width, depth = int(random.integers(1, 4)), int(random.integers(20, 80))
        ImageDraw.Draw(image).line((x, y, x + 45, y + int(random.integers(-8, 40))), fill=(depth,) * 3, width=width)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def set_up_line(workspace: Workspace, recipient: str, *, parts: int = 160, **settings: object) -> Uploader:
    """Create the inspection with its factory set, and enrol one device."""
    create_inspection(workspace.catalog(), INSPECTION, [("ok", "ok"), ("crack", "defect")], settings)
    device = Uploader("line-1", recipient)
    set_up(workspace.catalog(), device)
    import_factory_parts(workspace, INSPECTION, parts)
    return device


def import_factory_parts(workspace: Workspace, inspection: str, parts: int) -> None:
    """Import the factory's parts, one in four cracked."""
    samples = (
        SourceSample(
            image=part(seed, cracked=seed % 4 == 0, field=False),
            media_type="image/png",
            label=CLASSES[seed % 4 == 0],
            path=f"{seed}.png",
            stage=Stage.FACTORY,
        )
        for seed in range(parts)
    )
    report = import_samples(workspace.catalog(), workspace.lake(), inspection, samples)
    assert report.imported == parts, report


def capture(workspace: Workspace, device: Uploader, window: int, samples: int) -> dict[str, str]:
    """Upload a window, ingest it, and label what a draw asks for. Returns sample id -> class of all."""
    truth: dict[str, str] = {}

    def seen(blob: SampleBlob) -> SampleBlob:
        seed = 10_000 * window + len(truth)
        truth[blob.sample_id] = CLASSES[seed % 3 == 0]
        return replace(blob, image=part(seed, cracked=seed % 3 == 0, field=True))

    put(workspace.bucket(), device.window(window, samples=samples, change=seen))
    report = ingest_once(workspace)
    assert (report.samples, report.quarantined) == (samples, [])
    return truth


def label(workspace: Workspace, truth: dict[str, str], count: int, *, say: Callable[[str], str] = str) -> int:
    """Label what a draw asks for. Returns how many."""
    now = datetime.now(UTC)
    asked = draw(workspace.catalog(), INSPECTION, count, random=np.random.default_rng(0), at=now).items
    labels = [NewLabel(sample_id=i.sample_id, classes=[say(truth[i.sample_id])], event_id=i.sample_id) for i in asked]
    record_labels(workspace.catalog(), labels, who="tester", at=now, source="console")
    return len(labels)
