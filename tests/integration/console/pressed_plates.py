"""A line that inspects pressed plates: pictures of ok, cracked and pierced ones, captured, uploaded and ingested."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image, ImageDraw, ImageFilter

from data.decisions import GateDecision, ReleaseEntry, record_decision, record_release
from data.devices import register_device
from data.imports import import_samples
from data.ingest import ingest_heartbeats, ingest_inbox
from data.inspections import create_inspection
from data.sources.sample import SourceSample
from data.workspace import Workspace
from edge_client.contract.bucket import S3Settings
from edge_client.contract.decision import Verdict
from edge_client.contract.heartbeat import Heartbeat, Rollout
from edge_client.contract.names import record_key, shard_key, status_key
from edge_client.contract.record import ManifestEntry, ShardEntry, WindowRecord
from edge_client.contract.sample import SampleBlob
from edge_client.contract.sealing import generate_identity, load_identity, seal
from edge_client.contract.shard import write_shard
from edge_client.contract.signing import public_hex

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
INSPECTION = "pressed-plates"
CLASSES = [("ok", "ok"), ("crack", "defect"), ("hole", "defect")]
EVIL = "<img src=x onerror=alert(1)>"  # comes in as a part id, a reason and an error


def plate(number: int, label: str) -> bytes:
    """A brushed metal plate, JPEG, with its fault."""
    rng = np.random.default_rng(number)
    side, height = 640, 480
    lines = np.cumsum(rng.normal(0, 2.0, (height, 1)), axis=0)
    shade = (
        150 + 18 * np.sin(np.linspace(0, 3, side))[None, :] + lines - lines.mean() + rng.normal(0, 5, (height, side))
    )
    picture = Image.fromarray(np.clip(np.repeat(shade[:, :, None], 3, axis=2), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    x, y = int(rng.integers(160, 480)), int(rng.integers(120, 360))
    if label == "crack":
        points = [(x + 12 * i + int(rng.integers(-4, 5)), y + int(7 * i + rng.integers(-9, 10))) for i in range(12)]
        draw.line(points, fill=(38, 36, 34), width=3)
    if label == "hole":
        draw.ellipse((x - 22, y - 20, x + 22, y + 20), fill=(24, 24, 26))
    buffer = io.BytesIO()
    picture.filter(ImageFilter.GaussianBlur(0.8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def truth(number: int) -> str:
    """What a plate is."""
    return ("ok", "ok", "crack", "ok", "hole")[number % 5]


def sample_id(number: int) -> str:
    """The id of a captured plate."""
    return hashlib.sha256(f"plate {number}".encode()).hexdigest()[:32]


def blob(number: int, device: str) -> SampleBlob:
    """A captured plate, with an engine's opinion that is mostly right."""
    label, rng = truth(number), np.random.default_rng(number + 1_000)
    p = rng.dirichlet([6 if name == label else 1.2 for name, _ in CLASSES]).astype(np.float32)
    verdict = Verdict.OK if p[0] > 0.75 else Verdict.DEFECT if p[0] < 0.4 else Verdict.UNSURE
    heat = rng.uniform(0, 0.35, (14, 14))
    if label != "ok":
        row, column = rng.integers(4, 10, 2)
        heat[row - 1 : row + 2, column - 1 : column + 2] += 0.9
    return SampleBlob(
        sample_id=sample_id(number), inspection=INSPECTION, device=device, station=f"press-{device[-1]}",
        engine_id="engine-7", media_type="image/jpeg", image=plate(number, label),
        captured_at=NOW + timedelta(seconds=number), part_id=EVIL if number % 8 == 1 else f"A-{1000 + number}",
        context={"humidity": 0.41, "lot": "L7"}, classes=tuple(name for name, _ in CLASSES), probabilities=p,
        anomaly=float(heat.max()), verdict=verdict, embedding=rng.normal(size=8).astype(np.float16),
        anomaly_map=heat.astype(np.float16),
    )  # fmt: skip


def upload(bucket, key: Ed25519PrivateKey, recipient: str, device: str, window: int, numbers: range) -> None:  # type: ignore[no-untyped-def]
    """One window of a device, as a device uploads it."""
    members, manifest = [], []
    for sequence, number in enumerate(numbers, start=window * 10_000):
        one = blob(number, device)
        sealed = seal(one.pack(), recipient)
        members.append((f"{one.sample_id}.age", sealed))
        manifest.append(
            ManifestEntry(
                sample_id=one.sample_id,
                sequence=sequence,
                shard=0,
                name=f"{one.sample_id}.age",
                sha256=hashlib.sha256(sealed).hexdigest(),
                bytes=len(sealed),
                weight=0.5,
                u=0.25,
                run=sequence,
                reasons={"uncertain": 0.3, "audit": 0.2},
                extra=None,
            )
        )
    tar = write_shard(members)
    record = WindowRecord(
        device=device, site="north", station=f"press-{device[-1]}", inspection=INSPECTION, epoch=1, window=window,
        opened_at=NOW, closed_at=NOW + timedelta(minutes=5), engine_ids=("engine-7",), frames=2_000,
        weight_total=600.0, threshold=1.9, byte_budget=4_000_000, excluded=0, overload=0,
        class_counts={"ok": 1_800, "crack": 150, "hole": 50},
        verdict_counts={"ok": 1_700, "defect": 200, "unsure": 100},
        histograms={}, runs=tuple((entry.run, 1) for entry in manifest), manifest=tuple(manifest),
        shards=(ShardEntry(n=0, sha256=hashlib.sha256(tar).hexdigest(), bytes=len(tar)),),
    )  # fmt: skip
    bucket.put(shard_key(device, 1, window, 0), tar)
    bucket.put(record_key(device, 1, window), record.sign(key))


def build(home: Path, settings: S3Settings, *, plates: int = 60) -> Workspace:
    """A home directory whose stack is a bucket and a catalog, with plates captured on two devices."""
    home.mkdir(parents=True)
    stack = {
        "urls": {
            "bucket": settings.endpoint_url,
            "mlflow": "http://127.0.0.1:5999",
            "prefect": "http://127.0.0.1:4299",
        },
        "bucket": {"name": settings.bucket},
    }
    (home / "stack.json").write_text(json.dumps(stack))
    keys = {"access_key_id": settings.access_key_id, "secret_access_key": settings.secret_access_key}
    (home / "secrets.json").write_text(json.dumps(keys))
    workspace = Workspace.open(home, environ={})
    workspace.keys.mkdir()
    recipient = generate_identity(workspace.identity_path)
    catalog, bucket, lake = workspace.catalog(), workspace.bucket(), workspace.lake()
    create_inspection(catalog, INSPECTION, CLASSES, at=NOW)
    factory = [
        SourceSample(image=plate(9_000 + i, truth(i)), media_type="image/jpeg", label=truth(i), path=f"factory/{i}.jpg")
        for i in range(5)
    ]
    import_samples(catalog, lake, INSPECTION, factory)
    half = plates // 2
    for device, numbers in (("line-1", range(half)), ("line-2", range(half, plates))):
        key = Ed25519PrivateKey.generate()
        register_device(catalog, device, "north", f"press-{device[-1]}", [INSPECTION], public_hex(key), at=NOW)
        upload(bucket, key, recipient, device, 1, numbers)
        bucket.put(status_key(device), beat(device).sign(key))
    bucket.put(record_key("line-1", 1, 9), b"not a record")
    ingest_inbox(catalog, bucket, lake, load_identity(workspace.identity_path), lambda: NOW)
    ingest_heartbeats(catalog, bucket, lambda: datetime.now(UTC))
    tell(workspace)
    return workspace


def beat(device: str) -> Heartbeat:
    """A device's heartbeat."""
    fine = device == "line-1"
    return Heartbeat(
        device=device, site="north", station=f"press-{device[-1]}", sequence=1, sent_at=NOW, client_version="0.1.0",
        inspection=INSPECTION, channel="stable", engine_id="engine-7", engine_sha256="7" * 64, slot="a",
        health="ok" if fine else "degraded", frames=2_000, latency_ms_p50=3.1, latency_ms_p99=8.9,
        spool_bytes=120_000, spool_limit=1 << 30,
        rollout=Rollout(
            engine_id="engine-7", outcome="confirmed" if fine else "quarantined", reason="" if fine else EVIL
        ),
    )  # fmt: skip


def tell(workspace: Workspace) -> None:
    """What the flows noted."""
    for number, (answer, reasons, more) in enumerate(
        [
            ("promote", ["first model of the inspection: there is no champion to replace", "it is above chance"], {}),
            ("not_enough", ["label 12 more of crack"], {"crack": 12}),
            ("reject", ["average precision of defects on golden samples is worse: 0.871 before, 0.402 now"], {}),
        ],
        start=6,
    ):
        record_decision(
            workspace.catalog(),
            GateDecision(
                inspection=INSPECTION,
                version=str(number),
                champion_version=None if number == 6 else "6",
                run_id=f"run-{number}",
                snapshot_id=None,
                engine_id=f"engine-{number + 1}",
                at=NOW,
                answer=answer,
                reasons=reasons,
                label_more=more,
            ),
        )
    record_release(
        workspace.catalog(),
        ReleaseEntry(inspection=INSPECTION, channel="stable", action="release", who="ann", at=NOW, version="6"),
    )
