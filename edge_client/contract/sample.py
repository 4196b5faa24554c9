"""What one sealed blob holds: a sample (image and what the engine thought of it) or a list of events.

Layout: 8 bytes magic, uint32 big-endian length of the JSON header, header, then for a sample the embedding (float16),
the anomaly map (float16) and the image as it was encoded. Part ids, context and embeddings are in here, thus inside the
ciphertext.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.decision import Verdict
from edge_client.contract.engine_metadata import MAX_CLASSES
from edge_client.contract.errors import BadSample
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.quoting import quoted
from edge_client.contract.signing import canonical_json

MAX_BLOB_BYTES = 64 * 1024 * 1024
MAX_EMBEDDING = 8192
MAX_MAP_SIDE = 512
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
EVENT_KINDS = ("flag", "outcome")
_SAMPLE_MAGIC = b"ANDONSM1"
_EVENTS_MAGIC = b"ANDONEV1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleBlob:
    """One captured frame.

    Attributes:
        sample_id: 32 hex digits.
        image: The image file's bytes, as encoded by the application or losslessly by the client.
        part_id: The part, where the application knows it.
        context: Process values given by the application.
        probabilities: float32 [K] of the engine that ran.
        anomaly: Its anomaly score; 1.0 is the alarm threshold.
        embedding: float16 [D].
        anomaly_map: float16 [h, w]; may be empty.
    """

    sample_id: str
    inspection: str
    device: str
    station: str
    engine_id: str
    media_type: str
    image: bytes
    captured_at: datetime
    part_id: str | None
    context: Mapping[str, float | str] = field(default_factory=dict)
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    anomaly: float
    verdict: Verdict
    embedding: NDArray[np.float16]
    anomaly_map: NDArray[np.float16]

    def pack(self) -> bytes:
        """Serialise, to be sealed."""
        header = canonical_json(
            {
                "sample_id": self.sample_id,
                "inspection": self.inspection,
                "device": self.device,
                "station": self.station,
                "engine_id": self.engine_id,
                "media_type": self.media_type,
                "captured_at": self.captured_at.isoformat(),
                "part_id": self.part_id,
                "context": dict(self.context),
                "classes": list(self.classes),
                "probabilities": [float(p) for p in self.probabilities],
                "anomaly": float(self.anomaly),
                "verdict": self.verdict.value,
                "embedding": int(self.embedding.size),
                "anomaly_map": list(self.anomaly_map.shape) if self.anomaly_map.size else [0, 0],
                "image": len(self.image),
            }
        )
        arrays = self.embedding.astype("<f2").tobytes() + self.anomaly_map.astype("<f2").tobytes()
        return _SAMPLE_MAGIC + struct.pack(">I", len(header)) + header + arrays + self.image

    @staticmethod
    def unpack(data: bytes) -> "SampleBlob":
        """Read and check what `pack` wrote.

        Raises:
            BadSample: Not a sample, or out of bounds. The image itself is not decoded here.
        """
        header, body = _split(data, _SAMPLE_MAGIC, "sample")
        fields = Fields(header, "sample", BadSample)
        width = fields.whole("embedding", most=MAX_EMBEDDING)
        sides = fields.items("anomaly_map", most=2)
        if len(sides) != 2 or not all(isinstance(s, int) and 0 <= s <= MAX_MAP_SIDE for s in sides):
            raise fields.wrong("anomaly_map", sides, f"two sides of at most {MAX_MAP_SIDE}")
        image_bytes = fields.whole("image", most=MAX_BLOB_BYTES)
        map_end = 2 * width + 2 * sides[0] * sides[1]
        if len(body) != map_end + image_bytes:
            raise BadSample(f"sample has {len(body)} bytes after its header: expected {map_end + image_bytes}")
        probabilities = fields.items("probabilities", most=MAX_CLASSES)
        classes = fields.class_names("classes", most=MAX_CLASSES)
        finite = all(isinstance(p, int | float) and 0 <= p <= 1.0001 for p in probabilities)
        if not finite or len(probabilities) != len(classes):
            raise fields.wrong("probabilities", probabilities, f"{len(classes)} numbers from 0 to 1")
        media_type = fields.text("media_type")
        if media_type not in MEDIA_TYPES:
            raise fields.wrong("media_type", media_type, f"one of {MEDIA_TYPES}")
        try:
            verdict = Verdict(fields.text("verdict"))
        except ValueError:
            raise fields.wrong("verdict", fields.raw("verdict"), "ok, defect or unsure") from None
        return SampleBlob(
            sample_id=_sample_id(fields, "sample_id"),
            inspection=fields.name("inspection", "inspection"),
            device=fields.name("device", "device"),
            station=fields.name("station", "station"),
            engine_id=fields.name("engine_id", "engine"),
            media_type=media_type,
            image=body[map_end:],
            captured_at=fields.time("captured_at"),
            part_id=fields.optional_text("part_id", most=256),
            context=_context(fields),
            classes=classes,
            probabilities=np.array(probabilities, dtype=np.float32),
            anomaly=fields.number("anomaly"),
            verdict=verdict,
            embedding=np.frombuffer(body, dtype="<f2", count=width).astype(np.float16),
            anomaly_map=np.frombuffer(body, dtype="<f2", count=sides[0] * sides[1], offset=2 * width)
            .astype(np.float16)
            .reshape(sides),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something the application told about a part after the inspection.

    Attributes:
        event_id: 32 hex digits, unique.
        kind: ``flag`` (the operator's cord) or ``outcome`` (truth that comes later).
        value: For an outcome its result, such as ``failed``; for a flag the label the operator thinks right, or "".
        stage: Where the outcome was found, such as ``end-of-line``.
        reason: The operator's words.
    """

    event_id: str
    kind: str
    at: datetime
    sample_id: str | None = None
    part_id: str | None = None
    value: str = ""
    stage: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsBlob:
    """A list of events, sealed like a sample since they carry part ids."""

    events: tuple[Event, ...]

    def pack(self) -> bytes:
        """Serialise, to be sealed."""
        rows = [
            {
                "event_id": e.event_id,
                "kind": e.kind,
                "at": e.at.isoformat(),
                "sample_id": e.sample_id,
                "part_id": e.part_id,
                "value": e.value,
                "stage": e.stage,
                "reason": e.reason,
            }
            for e in self.events
        ]
        header = canonical_json({"events": rows})
        return _EVENTS_MAGIC + struct.pack(">I", len(header)) + header

    @staticmethod
    def unpack(data: bytes) -> "EventsBlob":
        """Read and check what `pack` wrote.

        Raises:
            BadSample: Not a list of events, or out of bounds.
        """
        header, body = _split(data, _EVENTS_MAGIC, "event list")
        if body:
            raise BadSample(f"event list has {len(body)} bytes after its header: expected none")
        return EventsBlob(
            events=tuple(_event(f) for f in Fields(header, "event list", BadSample).objects("events", most=100_000))
        )


def unpack_blob(data: bytes) -> SampleBlob | EventsBlob:
    """Read whichever of the two a blob is.

    Raises:
        BadSample: Neither.
    """
    return EventsBlob.unpack(data) if data[:8] == _EVENTS_MAGIC else SampleBlob.unpack(data)


def _split(data: bytes, magic: bytes, what: str) -> tuple[Any, bytes]:
    if len(data) > MAX_BLOB_BYTES:
        raise BadSample(f"{what} has {len(data)} bytes: at most {MAX_BLOB_BYTES} are read")
    if data[:8] != magic or len(data) < 12:
        raise BadSample(f"not a {what}: it begins with {data[:8]!r}, expected {magic!r}")
    (length,) = struct.unpack(">I", data[8:12])
    if 12 + length > len(data):
        raise BadSample(f"{what} ends inside its header")
    return read_json(data[12 : 12 + length], f"{what} header", BadSample), data[12 + length :]


def _sample_id(fields: Fields, name: str) -> str:
    text = fields.text(name, most=32)
    if len(text) != 32 or not set(text) <= set("0123456789abcdef"):
        raise fields.wrong(name, text, "32 lower-case hex digits")
    return text


def _context(fields: Fields) -> dict[str, float | str]:
    value = fields.mapping("context", most=256)
    for key, item in value.items():
        if isinstance(item, bool) or not isinstance(item, int | float | str) or len(key) > 128:
            raise fields.wrong(f"context[{quoted(key)}]", item, "a number or a text")
        if isinstance(item, str) and len(item) > 1024:
            raise fields.wrong(f"context[{quoted(key)}]", item, "a text of at most 1024 characters")
    return value


def _event(fields: Fields) -> Event:
    kind = fields.text("kind")
    if kind not in EVENT_KINDS:
        raise fields.wrong("kind", kind, f"one of {EVENT_KINDS}")
    return Event(
        event_id=_sample_id(fields, "event_id"),
        kind=kind,
        at=fields.time("at"),
        sample_id=None if fields.raw("sample_id") is None else _sample_id(fields, "sample_id"),
        part_id=fields.optional_text("part_id", most=256),
        value=fields.text("value"),
        stage=fields.text("stage"),
        reason=fields.text("reason", most=2000),
    )
