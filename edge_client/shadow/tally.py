"""Counting where a challenger differs. No I/O.

1. Two answers *disagree* when class or verdict differ, or when the probability of a defect is `FAR` apart: then a
   person would want to see the frame.
2. The distance of two answers is 1 when class or verdict differ, else the difference of their defect probabilities.
3. Counts belong to one document (its salt): another one begins anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_client.contract.shadow import MOST_PAIRS, OTHER_PAIRS
from edge_client.prediction import Prediction
from edge_client.shadow.process import Answer

FAR = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How a challenger's answer differs."""

    verdict: bool
    label: bool
    far: bool
    distance: float
    pair: str

    @property
    def disagrees(self) -> bool:
        """Rule 1."""
        return self.verdict or self.label or self.far


def difference(ours: Prediction, theirs: Answer) -> Difference:
    """Compare the answer that was given with the challenger's."""
    verdict, label = ours.verdict != theirs.verdict, ours.label != theirs.label
    apart = abs(ours.defect_probability - theirs.defect_probability)
    pair = f"{ours.label} > {theirs.label}" if label else f"{ours.label}: {ours.verdict} > {theirs.verdict}"
    return Difference(
        verdict=verdict,
        label=label,
        far=not (verdict or label) and apart >= FAR,
        distance=1.0 if verdict or label else min(1.0, apart),
        pair=pair,
    )


class ShadowTally:
    """Counts of one shadow.

    Attributes:
        seen, skipped, failed, verdicts, labels, disagreed, far, cpu_seconds: As `ShadowReport` has them.
        late: Disagreements that were found after capture had weighed the frame.
    """

    def __init__(self) -> None:
        self.seen = self.skipped = self.failed = 0
        self.verdicts = self.labels = self.disagreed = self.far = self.late = 0
        self.cpu_seconds = 0.0
        self._pairs: Counter[str] = Counter()

    def add(self, found: Difference, *, in_time: bool) -> None:
        """Count an answer."""
        self.seen += 1
        self.verdicts += found.verdict
        self.labels += found.label
        self.far += found.far
        if found.disagrees:
            self.disagreed += 1
            self.late += not in_time
        if found.verdict or found.label:
            known = found.pair in self._pairs or len(self._pairs) < MOST_PAIRS
            self._pairs[found.pair if known else OTHER_PAIRS] += 1

    @property
    def pairs(self) -> dict[str, int]:
        """Pairs of classes, most frequent first."""
        return dict(self._pairs.most_common())

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**{k: v for k, v in vars(self).items() if not k.startswith("_")}, "pairs": self.pairs}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> ShadowTally:
        """Read what `to_json` returned.

        Raises:
            KeyError, TypeError, ValueError: It is not that.
        """
        tally = ShadowTally()
        for name in vars(ShadowTally()):
            if not name.startswith("_"):
                setattr(tally, name, type(getattr(tally, name))(value[name]))
        tally._pairs = Counter({str(k): int(v) for k, v in value["pairs"].items()})
        return tally
