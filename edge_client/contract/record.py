"""The window record: what a device says about one capture window, signed, uploaded last.

The record describes all frames that the window saw and lists every sample that it kept. It makes the window count:
shards without a record are an upload that has not finished. Estimates rest on it, so it names τ, which is final.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_client.contract.errors import BadRecord
from edge_client.contract.fields import MAX_WHOLE, Fields
from edge_client.contract.quoting import quoted
from edge_client.contract.signing import sign_payload, verify_payload

SCHEMA = 1
PURPOSE = "window"
MAX_SAMPLES = 200_000
EXTRA_KINDS = ("flag", "campaign", "spare", "events")
_SCORES = "defect_probability"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One kept sample.

    Attributes:
        sample_id: 32 hex digits, unique for ever.
        sequence: Rises by one with every sample of a device's epoch; the key that ingest removes duplicates by.
        shard: Number of the shard that holds it.
        name: Member name in the shard's tar.
        sha256: Of the sealed blob.
        bytes: Length of the sealed blob.
        weight: w at the time it was offered; never changed after.
        u: Uniform in (0, 1] drawn for it.
        run: Which run of near-duplicates it belongs to (see `WindowRecord.runs`).
        reasons: Share of the weight by reason, such as ``{"uncertain": 0.8, "audit": 0.2}``.
        extra: None for samples of the probability sample; else why it was sent besides (`EXTRA_KINDS`).
    """

    sample_id: str
    sequence: int
    shard: int
    name: str
    sha256: str
    bytes: int
    weight: float
    u: float
    run: int = -1
    reasons: Mapping[str, float] = field(default_factory=dict)
    extra: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """One shard: its number, the SHA-256 of the tar file, and its length in bytes."""

    n: int
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRecord:
    """All that the cloud learns of one capture window.

    Attributes:
        frames: N, every frame the window saw, kept or not.
        weight_total: Σw over those frames.
        threshold: τ, final.
        byte_budget: B.
        excluded: Frames that could not be candidates (too large even re-encoded).
        overload: Candidates that could not be queued in time; each raised τ to its q.
        class_counts: Predicted class → frames, over ALL frames.
        verdict_counts: Verdict → frames, over ALL frames.
        histograms: Name → ``{"edges": [b+1], "counts": [b]}`` over ALL frames: ``anomaly``, ``margin``, and the defect
            probability by verdict and likeliest defect class (`score_histogram`; records of older devices have none).
        runs: (run, length) of near-duplicates, for the runs that have a sample in the manifest.
    """

    device: str
    site: str
    station: str
    inspection: str
    epoch: int
    window: int
    opened_at: datetime
    closed_at: datetime
    engine_ids: tuple[str, ...]
    frames: int
    weight_total: float
    threshold: float
    byte_budget: int
    excluded: int
    overload: int
    class_counts: Mapping[str, int]
    verdict_counts: Mapping[str, int]
    histograms: Mapping[str, Any]
    runs: tuple[tuple[int, int], ...]
    manifest: tuple[ManifestEntry, ...]
    shards: tuple[ShardEntry, ...]

    def to_payload(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        value = asdict(self)
        value["schema"] = SCHEMA
        value["opened_at"] = self.opened_at.isoformat()
        value["closed_at"] = self.closed_at.isoformat()
        return value

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        """Return the signed document that is uploaded."""
        return sign_payload(self.to_payload(), key, purpose=PURPOSE)

    @staticmethod
    def verify(document: bytes, public_key_hex: str) -> "WindowRecord":
        """Read a signed record.

        Raises:
            BadSignature: Not signed by that device's key.
            BadRecord: Signed, but its content is not acceptable.
        """
        return WindowRecord.from_payload(verify_payload(document, public_key_hex, purpose=PURPOSE))

    @staticmethod
    def from_payload(payload: Mapping[str, Any]) -> "WindowRecord":
        """Read and check what `to_payload` wrote.

        Raises:
            BadRecord: A field is missing, of the wrong type or out of bounds, or fields contradict each other.
        """
        fields = Fields(payload, "window record", BadRecord)
        if fields.whole("schema") != SCHEMA:
            raise fields.wrong("schema", fields.raw("schema"), f"{SCHEMA}; update the cloud side")
        record = WindowRecord(
            device=fields.name("device", "device"),
            site=fields.name("site", "site"),
            station=fields.name("station", "station"),
            inspection=fields.name("inspection", "inspection"),
            epoch=fields.whole("epoch"),
            window=fields.whole("window"),
            opened_at=fields.time("opened_at"),
            closed_at=fields.time("closed_at"),
            engine_ids=fields.names("engine_ids", "engine", most=1000),
            frames=fields.whole("frames"),
            weight_total=fields.number("weight_total", least=0),
            threshold=fields.number("threshold", least=0),
            byte_budget=fields.whole("byte_budget"),
            excluded=fields.whole("excluded"),
            overload=fields.whole("overload"),
            class_counts=fields.counts("class_counts"),
            verdict_counts=fields.counts("verdict_counts"),
            histograms={name: _histogram(fields, name, value) for name, value in fields.mapping("histograms").items()},
            runs=tuple(_run(fields, pair) for pair in fields.items("runs", most=MAX_SAMPLES)),
            manifest=tuple(_entry(f) for f in fields.objects("manifest", most=MAX_SAMPLES)),
            shards=tuple(_shard(f) for f in fields.objects("shards", most=10_000)),
        )
        _check_whole(record)
        return record


def _entry(fields: Fields) -> ManifestEntry:
    extra = fields.optional_text("extra")
    if extra is not None and extra not in EXTRA_KINDS:
        raise fields.wrong("extra", extra, f"null or one of {EXTRA_KINDS}")
    u = fields.number("u", least=0, most=1)
    if u <= 0:
        raise fields.wrong("u", u, "a number above 0")
    return ManifestEntry(
        sample_id=_hex(fields, "sample_id", 32),
        sequence=fields.whole("sequence"),
        shard=fields.whole("shard"),
        name=fields.text("name", most=128),
        sha256=_hex(fields, "sha256", 64),
        bytes=fields.whole("bytes"),
        weight=fields.number("weight", least=0),
        u=u,
        run=fields.whole("run", least=-1),
        reasons=fields.numbers("reasons"),
        extra=extra,
    )


def _shard(fields: Fields) -> ShardEntry:
    return ShardEntry(n=fields.whole("n"), sha256=_hex(fields, "sha256", 64), bytes=fields.whole("bytes"))


def _run(fields: Fields, pair: object) -> tuple[int, int]:
    if (
        not isinstance(pair, list | tuple)
        or len(pair) != 2
        or not all(isinstance(v, int) and -1 <= v <= MAX_WHOLE for v in pair)
    ):
        raise fields.wrong("runs", pair, "pairs of run and length")
    return int(pair[0]), int(pair[1])


def _histogram(fields: Fields, name: str, value: object) -> dict[str, list[float]]:
    inner = Fields(value, f"window record: histograms[{quoted(name)}]", BadRecord)
    edges, counts = inner.items("edges", most=1025), inner.items("counts", most=1024)
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (*edges, *counts))
    if not numeric or len(edges) != len(counts) + 1:
        raise fields.wrong(f"histograms[{quoted(name)}]", value, "edges one longer than counts, all numbers")
    return {"edges": edges, "counts": counts}


def _hex(fields: Fields, name: str, digits: int) -> str:
    text = fields.text(name, most=digits)
    if len(text) != digits or not set(text) <= set("0123456789abcdef"):
        raise fields.wrong(name, text, f"{digits} lower-case hex digits")
    return text


def _check_whole(record: WindowRecord) -> None:
    """Check what no single field can: numbers that occur twice, members of shards that are not listed."""
    label = f"window record {record.device} {record.epoch}-{record.window}"
    sequences = [e.sequence for e in record.manifest]
    if len(set(sequences)) != len(sequences):
        raise BadRecord(f"{label} uses a sequence number twice")
    names = [e.sample_id for e in record.manifest]
    if len(set(names)) != len(names):
        raise BadRecord(f"{label} lists a sample twice")
    shards = [s.n for s in record.shards]
    if len(set(shards)) != len(shards):
        raise BadRecord(f"{label} lists a shard twice")
    if not {e.shard for e in record.manifest} <= set(shards):
        raise BadRecord(f"{label} has samples in shards that it does not list")
    if record.frames < sum(1 for e in record.manifest if e.extra is None):
        raise BadRecord(f"{label} keeps more samples than the {record.frames} frames it saw")


def score_histogram(verdict: str, likeliest: str) -> str:
    """Name the histogram of defect probabilities of the frames with one verdict and one likeliest defect class.

    >>> score_histogram("ok", "crack")
    'defect_probability/ok/crack'
    """
    return f"{_SCORES}/{verdict}/{likeliest}"


def read_score_histogram(name: str) -> tuple[str, str] | None:
    """Return the (verdict, likeliest defect class) that a histogram's name means; None if it is of something else."""
    kind, _, rest = name.partition("/")
    verdict, slash, likeliest = rest.partition("/")
    return (verdict, likeliest) if kind == _SCORES and slash else None
