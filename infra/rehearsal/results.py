"""What a rehearsal found: the values of `report.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured number with its 95 % interval and the n behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutScore:
    """How one engine does on the frames that nobody streamed or labelled."""

    average_precision: Figure
    balanced_accuracy: Figure
    class_average_precision: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateEstimate:
    """The defect rate as the loop estimates it from few labels, and the archive's truth."""

    value: float
    low: float
    high: float
    n: int
    truth: float

    @property
    def holds_truth(self) -> bool:
        """Whether the interval covers the truth."""
        return self.low <= self.truth <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round: what was streamed, sent, labelled and decided, and the holdout's score after it."""

    round: int
    engine_version: str
    frames_seen: int
    bytes_uploaded_share: float
    labels: int
    labels_share: float
    score: HoldoutScore
    defect_rate: RateEstimate | None
    decision: str
    reasons: tuple[str, ...]
    challenger_version: str
    faults: tuple[str, ...] = ()
    seconds: float = 0.0
    seconds_alias_to_devices: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the score's measures beside the others."""
        value = asdict(self)
        value.update(value.pop("score"))
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The same recipe with other labels."""

    labels: int
    score: HoldoutScore
    draws: int = 1  # the score is the mean of so many independent draws

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the score's measures beside the others."""
        return {"labels": self.labels, "draws": self.draws, **asdict(self.score)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A challenger that the gate refused."""

    version: str
    sabotaged: bool
    reasons: tuple[str, ...]
    ran_on: tuple[str, ...]  # devices that ever ran it: must be empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole outcome."""

    name: str
    inspection: str
    created_at: str
    seed: int
    options: Mapping[str, Any]
    classes: tuple[Mapping[str, str], ...]
    archive: Mapping[str, int]
    setup_seconds: float
    loop_seconds: float
    before: HoldoutScore
    before_version: str
    rounds: tuple[Round, ...]
    random: Comparison | None
    all_labels: Comparison | None
    refused: tuple[Refusal, ...]
    requests: int
    requests_lost: int
    swaps: int
    audit: Mapping[str, Any]
    faults: tuple[str, ...]
    addresses: Mapping[str, str]

    @property
    def intervals_that_hold(self) -> tuple[int, int]:
        """How many rounds' defect-rate intervals hold the truth, of how many."""
        rates = [r.defect_rate for r in self.rounds if r.defect_rate is not None]
        return sum(r.holds_truth for r in rates), len(rates)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "inspection": self.inspection,
            "created_at": self.created_at,
            "seed": self.seed,
            "options": dict(self.options),
            "classes": [dict(c) for c in self.classes],
            "archive": dict(self.archive),
            "setup_seconds": self.setup_seconds,
            "loop_seconds": self.loop_seconds,
            "before": {"engine_version": self.before_version, **asdict(self.before)},
            "rounds": [r.to_json() for r in self.rounds],
            "random": self.random.to_json() if self.random else None,
            "all_labels": self.all_labels.to_json() if self.all_labels else None,
            "refused": [asdict(r) for r in self.refused],
            "requests": self.requests,
            "requests_lost": self.requests_lost,
            "swaps": self.swaps,
            "defect_rate_intervals_that_hold_the_truth": "{} of {}".format(*self.intervals_that_hold),
            "audit": dict(self.audit),
            "faults": list(self.faults),
            "addresses": dict(self.addresses),
        }

    def write(self, folder: Path) -> Path:
        """Write `report.json` into a folder and return its path."""
        path = folder / "report.json"
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        return path
