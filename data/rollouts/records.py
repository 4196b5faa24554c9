"""What one device showed before and after a rollout reached it, folded from its heartbeats. Pure.

1. Heartbeats carry counts since the client's start. What counts is the increase between two of them that name the
   same engine: an increase over a change of engine, or over a restart, is dropped.
2. Increases are kept as sums of products, one for each quantity: enough for a ratio and for its variance over batches
   (the increases), so that frames of one part, which are alike, do not pass as independent ones.
3. Under the base version: `earlier` until the rollout began, `later` since. Under the new one: `after`.
4. A heartbeat is folded once: its sequence is remembered, an older one changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

DEFECT, ANOMALY, LOST = "defect", "anomaly", "lost"
_LATENCIES = 15  # of the newest heartbeats; their median is judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A heartbeat, as far as a rollout looks at it; read from what ingest has verified."""

    sequence: int
    received_at: datetime
    engine_sha256: str
    frames: int
    lost: int
    classes: Mapping[str, int]
    anomaly_mean: float
    latency_ms_p99: float
    outcome: str
    outcome_sha256: str
    reason: str
    quarantined: Mapping[str, str]
    site: str
    station: str
    hardware: str

    @staticmethod
    def of(payload: Mapping[str, Any], received_at: datetime) -> Report:
        """Take it out of a heartbeat's stored payload."""
        rollout = payload["rollout"]
        return Report(
            sequence=payload["sequence"],
            received_at=received_at,
            engine_sha256=payload["engine_sha256"],
            frames=payload["frames"],
            lost=payload["requests_lost"],
            classes=payload["class_counts"],
            anomaly_mean=payload["anomaly_mean"],
            latency_ms_p99=payload["latency_ms_p99"],
            outcome=rollout["outcome"],
            outcome_sha256=rollout["engine_sha256"],
            reason=rollout["reason"],
            quarantined={each["engine_sha256"]: each["reason"] for each in payload["quarantined"]},
            site=payload["site"],
            station=payload["station"],
            hardware=payload.get("hardware", ""),
        )


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over batches (rule 2): `frames` f of each batch and its square, and for each quantity y: Σy, Σy², Σyf."""

    batches: int = 0
    frames: int = 0
    squares: float = 0.0
    quantities: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    def plus(self, frames: int, values: Mapping[str, float]) -> Sums:
        """Add one batch."""
        sums = dict(self.quantities)
        for name, y in values.items():
            total, squares, products = sums.get(name, (0.0, 0.0, 0.0))
            sums[name] = (total + y, squares + y * y, products + y * frames)
        return Sums(self.batches + 1, self.frames + frames, self.squares + frames * frames, sums)

    def merged(self, other: Sums) -> Sums:
        """Both together."""
        names = {*self.quantities, *other.quantities}
        nothing = (0.0, 0.0, 0.0)
        added = {
            name: tuple(
                a + b
                for a, b in zip(self.quantities.get(name, nothing), other.quantities.get(name, nothing), strict=True)
            )
            for name in names
        }
        return Sums(
            self.batches + other.batches,
            self.frames + other.frames,
            self.squares + other.squares,
            {name: (a, b, c) for name, (a, b, c) in added.items()},
        )

    def rate(self, name: str) -> float:
        """Σy/Σf; 0 without a frame."""
        return self.quantities.get(name, (0.0, 0.0, 0.0))[0] / self.frames if self.frames else 0.0

    def variance(self, name: str) -> float | None:
        """Variance of the rate over batches; None with fewer than two."""
        if self.batches < 2 or not self.frames:
            return None
        _, yy, yf = self.quantities.get(name, (0.0, 0.0, 0.0))
        rate = self.rate(name)
        residual = max(0.0, yy - 2 * rate * yf + rate * rate * self.squares)
        return self.batches / (self.batches - 1) * residual / self.frames**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One device in one rollout.

    Attributes:
        joined: Index of the stage that reached it; -1 for a control.
        present: It was heard of lately when it was reached, or was heard of since: it is waited for.
        counts: The counts of the newest heartbeat, to take increases from; empty before the first.
        outcome: What became of the version here: waiting, trying, confirmed, quarantined, failed.
        reason: Why.
        p99_before, p99_after: Of the newest heartbeats under each version, ms.
    """

    joined: int = -1
    present: bool = False
    sequence: int = -1
    engine_sha256: str = ""
    counts: Mapping[str, float] = field(default_factory=dict)
    outcome: str = "waiting"
    reason: str = ""
    earlier: Sums = field(default_factory=Sums)
    later: Sums = field(default_factory=Sums)
    after: Sums = field(default_factory=Sums)
    p99_before: tuple[float, ...] = ()
    p99_after: tuple[float, ...] = ()

    @property
    def before(self) -> Sums:
        """All that it showed under the base version."""
        return self.earlier.merged(self.later)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> Record:
        """Read what `to_dict` wrote."""
        sums = {name: _sums(value[name]) for name in ("earlier", "later", "after")}
        lists = {name: tuple(value[name]) for name in ("p99_before", "p99_after")}
        return Record(**{**value, **sums, **lists})


def fold(
    record: Record,
    report: Report,
    *,
    new: Collection[str],
    base: Collection[str],
    defects: Collection[str],
    began_at: datetime,
) -> Record:
    """Take one heartbeat into a record.

    Args:
        record: What is known.
        report: A heartbeat of the same device.
        new: Digests of the version that is rolled out.
        base: Digests of the base version.
        defects: Names of the classes of kind defect.
        began_at: When the rollout began.
    """
    if report.sequence <= record.sequence:
        return record
    counts = _counts(report, defects)
    told = replace(record, sequence=report.sequence, engine_sha256=report.engine_sha256, counts=counts)
    outcome, reason = _outcome(report, new)
    told = replace(told, outcome=outcome, reason=reason)
    if record.engine_sha256 != report.engine_sha256 or not record.counts:
        return told
    asked = int(counts["asked"] - record.counts["asked"])
    values = {name: counts[name] - record.counts.get(name, 0.0) for name in counts if name != "asked"}
    if asked <= 0 or any(values[name] < 0 for name in values if name != ANOMALY):
        return told  # nothing new, or the client began anew
    latency = (report.latency_ms_p99,) if report.latency_ms_p99 > 0 else ()
    if report.engine_sha256 in new:
        return replace(
            told, after=record.after.plus(asked, values), p99_after=(*record.p99_after, *latency)[-_LATENCIES:]
        )
    if report.engine_sha256 not in base:
        return told
    told = replace(told, p99_before=(*record.p99_before, *latency)[-_LATENCIES:])
    if report.received_at < began_at:
        return replace(told, earlier=record.earlier.plus(asked, values))
    return replace(told, later=record.later.plus(asked, values))


def _counts(report: Report, defects: Collection[str]) -> dict[str, float]:
    """Counts since the client's start; `asked` are the frames that were answered or lost."""
    classes = {f"class {name}": float(n) for name, n in report.classes.items() if name in defects}
    if len(classes) < 2:
        classes = {}  # one defect class is all of the defects
    return {
        "asked": float(report.frames + report.lost),
        DEFECT: float(sum(n for name, n in report.classes.items() if name in defects)),
        ANOMALY: report.anomaly_mean * report.frames,
        LOST: float(report.lost),
        **classes,
    }


def _outcome(report: Report, new: Collection[str]) -> tuple[str, str]:
    """What became of the version, as the device says. A file that fails is no quarantine while another is left."""
    concerned = report.outcome_sha256 in new
    refused = {digest: why for digest, why in report.quarantined.items() if digest in new}
    if (concerned and report.outcome == "quarantined") or (refused and set(new) <= set(refused)):
        return "quarantined", report.reason if concerned and report.reason else "; ".join(refused.values())
    if concerned and report.outcome in ("trial", "probation"):
        return "trying", ""
    if report.engine_sha256 in new:
        return "confirmed", ""
    if concerned and report.outcome == "failed":
        return "failed", report.reason
    return "waiting", ""


def _sums(value: Mapping[str, Any]) -> Sums:
    quantities = {name: (a, b, c) for name, (a, b, c) in value["quantities"].items()}
    return Sums(value["batches"], value["frames"], value["squares"], quantities)
