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

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from edge_client.contract.record import read_score_histogram

VERDICTS = ("ok", "unsure", "defect")
_NO_BINS: array[int] = array("q")
_NOTHING: Mapping[Any, int] = {}
_score_histogram = lru_cache(maxsize=4096)(read_score_histogram)
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


@dataclass(frozen=True, slots=True, eq=False)
class _Shape:
    """Which bins a window's record has; windows of the same devices and engines share one.

    Attributes:
        columns: (verdict, likeliest defect class) → where its bins begin, and their edges.
        cells: Of all bins, one after another.
    """

    columns: Mapping[tuple[str, str], tuple[int, Sequence[float]]]
    cells: Sequence[Cell]


class KnownFrames:
    """One window's cells. A million samples have ten thousands of windows, so one is an array of numbers.

    Args:
        frames: How many frames it saw.
        excluded: Of them, those that could not be candidates.
        verdict_counts: Verdict → frames, of its record.
        histograms: Of its record.

    Attributes:
        shape: Its bins; None where it does not tell them.
        bins: Frames in each of them.
        verdicts: Cell → frames, where only the verdicts are known.
    """

    __slots__ = ("bins", "shape", "verdicts")

    def __init__(
        self, *, frames: int, excluded: int, verdict_counts: Mapping[str, int], histograms: Mapping[str, Any]
    ) -> None:
        self.shape: _Shape | None = None
        self.bins = _NO_BINS
        self.verdicts: Mapping[Cell, int] = _NOTHING
        if excluded:
            return
        named: list[tuple[tuple[str, str], tuple[float, ...]]] = []
        counts: list[int] = []
        right = True
        for name, histogram in histograms.items():
            key = _score_histogram(name)
            if key is not None:
                mine = [int(count) for count in histogram["counts"]]
                named.append((key, tuple(histogram["edges"])))
                counts += mine
                right = right and _right(key[0], mine)
        if sum(counts) == frames:
            if right and any(counts):
                self.shape, self.bins = _shape(tuple(named)), array("q", counts)
            return
        told = {verdict: int(count) for verdict, count in verdict_counts.items() if count}
        if sum(told.values()) == frames and all(_right(verdict, [count]) for verdict, count in told.items()):
            self.verdicts = {_of_verdict(verdict): count for verdict, count in told.items()}

    @property
    def tells(self) -> bool:
        """Whether it tells its cells."""
        return self.shape is not None or bool(self.verdicts)

    @property
    def counts(self) -> Counter[Cell]:
        """Cell → frames; empty if it tells none."""
        return summed([self])

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
        if verdict is None:
            return None
        if self.shape is None:
            return cell if (cell := _of_verdict(verdict)) in self.verdicts else None
        among = _defects_among(classes, probabilities, defects)
        total = 0.0
        for i in among:  # added up and rounded as `Judge.one` does
            total += float(probabilities[i])
        total = float(np.float32(total))
        likeliest = likeliest_defect(classes, probabilities, defects)
        for name in (likeliest, ""):  # a device with very many classes does not tell them apart
            column = self.shape.columns.get((verdict, name))
            if column is not None:
                start, edges = column
                i = start + min(max(bisect_right(edges, total) - 1, 0), len(edges) - 2)
                cell = self.shape.cells[i]
                return cell if self.bins[i] or cell in self.counts else None
        return None


def summed(windows: Iterable[KnownFrames]) -> Counter[Cell]:
    """Cell → frames of windows together."""
    found: Counter[Cell] = Counter()
    by_shape: dict[_Shape, list[array[int]]] = {}
    for window in windows:
        if window.shape is None:
            found.update(window.verdicts)
        else:
            by_shape.setdefault(window.shape, []).append(window.bins)
    for shape, rows in by_shape.items():
        whole = np.frombuffer(b"".join(rows), dtype=np.int64).reshape(len(rows), -1).sum(axis=0)
        for cell, count in zip(shape.cells, whole.tolist(), strict=True):
            if count:
                found[cell] += count
    return found


def likeliest_defect(classes: Sequence[str], probabilities: Sequence[float], defects: frozenset[str]) -> str:
    """The most probable class of kind defect; "" if there is none.

    >>> likeliest_defect(["ok", "crack", "void"], [0.7, 0.1, 0.2], frozenset({"crack", "void"}))
    'void'
    """
    among = _defects_among(classes, probabilities, defects)
    return classes[max(among, key=probabilities.__getitem__)] if among else ""


def _defects_among(classes: Sequence[str], probabilities: Sequence[float], defects: frozenset[str]) -> list[int]:
    return [i for i, name in enumerate(classes) if name in defects and i < len(probabilities)]


@lru_cache(maxsize=4096)  # a fleet has few classes and edges
def _shape(named: tuple[tuple[tuple[str, str], tuple[float, ...]], ...]) -> _Shape:
    columns: dict[tuple[str, str], tuple[int, Sequence[float]]] = {}
    cells: list[Cell] = []
    for key, edges in named:
        columns[key] = len(cells), edges
        cells += [
            Cell(verdict=key[0], likeliest=key[1], score=min(1.0, max(0.0, (low + high) / 2)))
            for low, high in pairwise(edges)
        ]
    return _Shape(columns, tuple(cells))


def _right(verdict: str, counts: Sequence[int]) -> bool:
    """Whether counts are of a verdict that there is, and none is below zero."""
    return min(counts, default=0) >= 0 and (verdict in VERDICTS or not any(counts))


def _of_verdict(verdict: str) -> Cell:
    return Cell(verdict=verdict, likeliest="", score=_BY_VERDICT.get(verdict, 0.0))
