"""What the window records say of ALL frames, labelled or not: how many had which verdict and which defect probability.

1. A cell is a verdict, the likeliest defect class and a bin of the defect probability; its score is the bin's middle.
   The device counts its frames by cell (`edge_client.contract.record.score_histogram`), and a captured sample falls
   into a cell by the very same rule: what is known of all frames and of the sample is the same quantity.
2. A window tells its cells only if they add up to its frames and none of these was excluded. Records of older devices
   have no such histograms: of their windows the verdicts are known, if those add up. Else nothing is, and the window's
   samples have no cell.
3. Where only the verdict is known, the score is 1 for `defect`, a half for `unsure`, 0 for `ok`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_client.contract.record import read_score_histogram

VERDICTS = ("ok", "unsure", "defect")
_BY_VERDICT = {"ok": 0.0, "unsure": 0.5, "defect": 1.0}  # rule 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Frames that the engine said the same of.

    Attributes:
        verdict: ``ok``, ``unsure`` or ``defect``.
        likeliest: The most probable class of kind defect; "" where that was not counted.
        score: About how probable a defect is, in [0, 1].
    """

    verdict: str
    likeliest: str
    score: float


class KnownFrames:
    """One window's cells.

    Args:
        frames: How many frames it saw.
        excluded: Of them, those that could not be candidates.
        verdict_counts: Verdict → frames, of its record.
        histograms: Of its record.
    """

    def __init__(
        self, *, frames: int, excluded: int, verdict_counts: Mapping[str, int], histograms: Mapping[str, Any]
    ) -> None:
        self._edges: dict[tuple[str, str], Sequence[float]] = {}
        self.counts: Counter[Cell] = Counter()
        if excluded:
            return
        for name, histogram in histograms.items():
            key = read_score_histogram(name)
            if key is not None:
                self._edges[key] = histogram["edges"]
                for i, count in enumerate(histogram["counts"]):
                    if count:
                        self.counts[_cell(key, histogram["edges"], i)] += int(count)
        if self.counts.total() != frames:
            self._edges.clear()
            self.counts = Counter(
                {_of_verdict(verdict): int(count) for verdict, count in verdict_counts.items() if count}
            )
        right = all(cell.verdict in VERDICTS and count > 0 for cell, count in self.counts.items())
        if self.counts.total() != frames or not right:
            self.counts = Counter()

    def cell_of(
        self, verdict: str | None, classes: Sequence[str], probabilities: Sequence[float], defects: frozenset[str]
    ) -> Cell | None:
        """The cell of one of its samples; None if the window tells none, or not this one.

        Args:
            verdict: What the engine said.
            classes: The engine's classes, [K].
            probabilities: Their probabilities, [K].
            defects: Names of the classes of kind defect.
        """
        if verdict is None or not self.counts:
            return None
        if not self._edges:
            return cell if (cell := _of_verdict(verdict)) in self.counts else None
        among = _defects_among(classes, probabilities, defects)
        total = 0.0
        for i in among:  # added up and rounded as `Judge.one` does
            total += float(probabilities[i])
        total = float(np.float32(total))
        likeliest = likeliest_defect(classes, probabilities, defects)
        for name in (likeliest, ""):  # a device with very many classes does not tell them apart
            edges = self._edges.get((verdict, name))
            if edges is not None:
                cell = _cell((verdict, name), edges, min(max(bisect_right(edges, total) - 1, 0), len(edges) - 2))
                return cell if cell in self.counts else None
        return None


def likeliest_defect(classes: Sequence[str], probabilities: Sequence[float], defects: frozenset[str]) -> str:
    """The most probable class of kind defect; "" if there is none.

    >>> likeliest_defect(["ok", "crack", "void"], [0.7, 0.1, 0.2], frozenset({"crack", "void"}))
    'void'
    """
    among = _defects_among(classes, probabilities, defects)
    return classes[max(among, key=probabilities.__getitem__)] if among else ""


def _defects_among(classes: Sequence[str], probabilities: Sequence[float], defects: frozenset[str]) -> list[int]:
    return [i for i, name in enumerate(classes) if name in defects and i < len(probabilities)]


def _cell(key: tuple[str, str], edges: Sequence[float], i: int) -> Cell:
    return Cell(verdict=key[0], likeliest=key[1], score=min(1.0, max(0.0, (edges[i] + edges[i + 1]) / 2)))


def _of_verdict(verdict: str) -> Cell:
    return Cell(verdict=verdict, likeliest="", score=_BY_VERDICT.get(verdict, 0.0))
