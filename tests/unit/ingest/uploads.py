"""Devices that upload windows by the contract: real keys, real sealing, real shards, any fault on request."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image

from data.catalog import Catalog
from data.devices import register_device
from data.inspections import create_inspection
from edge_client.contract.bucket import Bucket
from edge_client.contract.decision import Verdict
from edge_client.contract.names import record_key, shard_key
from edge_client.contract.record import ManifestEntry, ShardEntry, WindowRecord
from edge_client.contract.sample import Event, EventsBlob, SampleBlob
from edge_client.contract.sealing import seal
from edge_client.contract.shard import write_shard
from edge_client.contract.signing import public_hex

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
INSPECTION = "tiles"


def png(seed: int, side: int = 24) -> bytes:
    """A small PNG that differs by seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def set_up(catalog: Catalog, *devices: Uploader) -> None:
    """One inspection, with these devices enrolled."""
    create_inspection(catalog, INSPECTION, [("ok", "ok"), ("crack", "defect")], at=NOW)
    for device in devices:
        register_device(catalog, device.name, "site-1", "station-1", [INSPECTION], public_hex(device.key), at=NOW)


@dataclass(frozen=True)
class Upload:
    """A window, before or after it was put."""

    record: WindowRecord
    shards: dict[int, bytes]
    sample_ids: tuple[str, ...]
    document: bytes


@dataclass
class Uploader:
    """One device."""

    name: str
    recipient: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    sequence: int = 0

    def blob(self, number: int, **changes: object) -> SampleBlob:
        """One sample; `number` makes it unique."""
        blob = SampleBlob(
            sample_id=hashlib.sha256(f"{self.name} {number}".encode()).hexdigest()[:32],
            inspection=INSPECTION,
            device=self.name,
            station="station-1",
            engine_id="engine-1",
            media_type="image/png",
            image=png(number),
            captured_at=NOW + timedelta(seconds=number),
            part_id=f"part-{number}",
            context={"humidity": 0.4},
            classes=("ok", "crack"),
            probabilities=np.array([0.7, 0.3], dtype=np.float32),
            anomaly=0.5,
            verdict=Verdict.UNSURE,
            embedding=np.arange(8, dtype=np.float16),
            anomaly_map=np.arange(6, dtype=np.float16).reshape(2, 3),
        )
        return replace(blob, **changes)  # type: ignore[arg-type]

    def window(
        self,
        number: int,
        *,
        samples: int = 4,
        shards: int = 2,
        epoch: int = 1,
        change: Callable[[SampleBlob], SampleBlob] = lambda blob: blob,
        events: tuple[Event, ...] = (),
        threshold: float = 0.0,
        **fields: object,
    ) -> Upload:
        """Make a window; nothing is put yet. Sample numbers are unique by window."""
        members: dict[int, list[tuple[str, bytes]]] = {n: [] for n in range(shards)}
        manifest, ids = [], []
        plain = [(blob.sample_id, change(blob).pack(), None) for blob in self._blobs(number, samples)]
        if events:
            plain.append((hashlib.sha256(f"{self.name} events {number}".encode()).hexdigest()[:32],
                          EventsBlob(events=events).pack(), "events"))  # fmt: skip
        for place, (sample_id, data, extra) in enumerate(plain):
            sealed = seal(data, self.recipient)
            shard = place % shards
            self.sequence += 1
            entry = ManifestEntry(
                sample_id=sample_id, sequence=self.sequence, shard=shard, name=f"{sample_id}.age",
                sha256=hashlib.sha256(sealed).hexdigest(), bytes=len(sealed), weight=0.5, u=0.25, run=place,
                reasons={"uncertain": 1.0}, extra=extra,
            )  # fmt: skip
            members[shard].append((entry.name, sealed))
            manifest.append(entry)
            ids.append(sample_id)
        tars = {n: write_shard(content) for n, content in members.items()}
        record = WindowRecord(
            device=self.name, site="site-1", station="station-1", inspection=INSPECTION, epoch=epoch, window=number,
            opened_at=NOW, closed_at=NOW + timedelta(minutes=5), engine_ids=("engine-1",), frames=100,
            weight_total=50.0, threshold=threshold, byte_budget=2_000_000, excluded=0, overload=0,
            class_counts={"ok": 90, "crack": 10}, verdict_counts={"ok": 90, "unsure": 10},
            histograms={"anomaly": {"edges": [0.0, 0.5, 1.0], "counts": [60, 40]}},
            runs=tuple((n, 1) for n in range(len(manifest))), manifest=tuple(manifest),
            shards=tuple(
                ShardEntry(n=n, sha256=hashlib.sha256(tar).hexdigest(), bytes=len(tar)) for n, tar in tars.items()
            ),
        )  # fmt: skip
        record = replace(record, **fields)  # type: ignore[arg-type]
        return Upload(record=record, shards=tars, sample_ids=tuple(ids), document=record.sign(self.key))

    def _blobs(self, window: int, count: int) -> list[SampleBlob]:
        return [self.blob(window * 1000 + n) for n in range(count)]


def put(bucket: Bucket, upload: Upload, *, leave_out: tuple[int, ...] = ()) -> None:
    """Upload as a device does: the shards, the record last."""
    name = (upload.record.device, upload.record.epoch, upload.record.window)
    for n, tar in upload.shards.items():
        if n not in leave_out:
            bucket.put(shard_key(*name, n), tar)
    bucket.put(record_key(*name), upload.document)
