"""What the window record says about ALL frames: counts and histograms, added up as they are seen."""

import json
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from edge_client.contract.record import read_score_histogram, score_histogram

ANOMALY_EDGES: tuple[float, ...] = (
    *(round(0.1 * i, 1) for i in range(31)),
    1e6,
)  # the last bin takes what lies above 3
MARGIN_EDGES: tuple[float, ...] = tuple(round(0.05 * i, 2) for i in range(21))
# fine where the bulk of a line's frames lies, and where most defects do
PROBABILITY_EDGES: tuple[float, ...] = (
    *(0.0, 0.001, 0.003, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(0.95, 0.99, 1.0),
)
# A value's bin is the number of inner edges that it reaches: what lies outside all edges is in the outermost bins.
_INSIDE_ANOMALY, _INSIDE_MARGIN, _INSIDE_PROBABILITY = (
    edges[1:-1] for edges in (ANOMALY_EDGES, MARGIN_EDGES, PROBABILITY_EDGES)
)


@dataclass(slots=True)
class Tally:
    """Counters of one window, or a part of one.

    Attributes:
        frames: N.
        weight_total: Σw.
        excluded: Frames that could not be candidates.
        overload: Candidates that could not be taken in time.
        overload_priority: τ rises to it: the highest q among those, or among others that waited with this one.
        runs: Run → frames of it.
        scores: (verdict, likeliest defect class, bin of the defect probability) → frames.
    """

    frames: int = 0
    weight_total: float = 0.0
    excluded: int = 0
    overload: int = 0
    overload_priority: float = 0.0
    classes: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    engine_ids: set[str] = field(default_factory=set)
    anomaly: Counter[int] = field(default_factory=Counter)
    margin: Counter[int] = field(default_factory=Counter)
    runs: Counter[int] = field(default_factory=Counter)
    scores: Counter[tuple[str, str, int]] = field(default_factory=Counter)

    def see(
        self,
        *,
        weight: float,
        label: str,
        verdict: str,
        engine_id: str,
        anomaly: float,
        margin: float,
        run: int,
        defect_probability: float | None = None,
        likeliest_defect: str = "",
    ) -> None:
        """Count one frame. Every frame of the line passes through here: no call that can be saved."""
        self.frames += 1
        self.weight_total += weight
        self.classes[label] += 1
        self.verdicts[verdict] += 1
        self.engine_ids.add(engine_id)
        self.anomaly[bisect_right(_INSIDE_ANOMALY, anomaly)] += 1
        self.margin[bisect_right(_INSIDE_MARGIN, margin)] += 1
        self.runs[run] += 1
        if defect_probability is not None:
            self.scores[verdict, likeliest_defect, bisect_right(_INSIDE_PROBABILITY, defect_probability)] += 1

    def miss(self, priority: float) -> None:
        """Count a candidate that could not be taken."""
        self.overload += 1
        self.overload_priority = max(self.overload_priority, priority)

    def add(self, other: "Tally") -> None:
        """Add another tally to this one."""
        self.frames += other.frames
        self.weight_total += other.weight_total
        self.excluded += other.excluded
        self.overload += other.overload
        self.overload_priority = max(self.overload_priority, other.overload_priority)
        self.classes.update(other.classes)
        self.verdicts.update(other.verdicts)
        self.engine_ids |= other.engine_ids
        self.anomaly.update(other.anomaly)
        self.margin.update(other.margin)
        self.runs.update(other.runs)
        self.scores.update(other.scores)

    def histograms(self) -> dict[str, dict[str, list[float]]]:
        """Return the record's histograms."""
        return {
            "anomaly": _histogram(ANOMALY_EDGES, self.anomaly),
            "margin": _histogram(MARGIN_EDGES, self.margin),
            **{name: _histogram(PROBABILITY_EDGES, counts) for name, counts in sorted(self._scores_by_name().items())},
        }

    def _scores_by_name(self) -> dict[str, Counter[int]]:
        found: dict[str, Counter[int]] = {}
        for (verdict, likeliest, where), count in self.scores.items():
            found.setdefault(score_histogram(verdict, likeliest), Counter())[where] += count
        return found

    def to_json(self) -> str:
        """Serialise for the spool; runs have their own table there."""
        return json.dumps(
            {
                "frames": self.frames,
                "weight_total": self.weight_total,
                "excluded": self.excluded,
                "overload": self.overload,
                "classes": self.classes,
                "verdicts": self.verdicts,
                "engine_ids": sorted(self.engine_ids),
                "anomaly": self.anomaly,
                "margin": self.margin,
                "scores": self._scores_by_name(),
            }
        )

    @staticmethod
    def from_json(text: str) -> "Tally":
        """Read what `to_json` wrote."""
        value: dict[str, Any] = json.loads(text)
        return Tally(
            frames=value["frames"],
            weight_total=value["weight_total"],
            excluded=value["excluded"],
            overload=value["overload"],
            classes=Counter(value["classes"]),
            verdicts=Counter(value["verdicts"]),
            engine_ids=set(value["engine_ids"]),
            anomaly=Counter({int(k): v for k, v in value["anomaly"].items()}),
            margin=Counter({int(k): v for k, v in value["margin"].items()}),
            scores=Counter(
                {
                    (*told, int(k)): v
                    for name, counts in value.get("scores", {}).items()  # a spool of an older version has none
                    if (told := read_score_histogram(name)) is not None
                    for k, v in counts.items()
                }
            ),
        )


def _histogram(edges: tuple[float, ...], counts: Counter[int]) -> dict[str, list[float]]:
    return {"edges": list(edges), "counts": [counts[i] for i in range(len(edges) - 1)]}
