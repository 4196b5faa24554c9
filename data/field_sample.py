"""A labelled probability sample of what the line produced, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from data.inspections import Inspection
from data.known_frames import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSample:
    """One labelled sample that counts.

    Attributes:
        label: Its classes; empty if an outcome said no more than defect or ok.
        p: Inclusion probability over both stages, scaled for non-response.
        p2: Of the second stage alone, the same for all that were drawn together.
        group: Near-duplicates that were drawn together share one.
        run_length: m, frames of the part's run (1 if alone).
        verdict: What the engine said when it was captured.
        cell: Where it is among all frames that the records count; None where they don't.
        by_outcome: Whether an outcome says so, not a person.
        likeliest: The engine's most probable class of kind defect.
    """

    sample_id: str
    label: tuple[str, ...]
    defect: bool
    p: float
    p2: float
    group: str
    run_length: int
    verdict: str | None
    device: str
    captured_at: datetime
    cell: Cell | None = None
    by_outcome: bool = False
    likeliest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSample:
    """A probability sample of a population of frames, labelled.

    Attributes:
        population: N.
        excluded: Frames outside N: too large to be candidates.
        waiting: Drawn samples not answered yet.
        nonresponse: Share of the population that nobody can speak for, estimated.
        windows: How many windows the population is made of.
        known: Cell → frames, over ALL frames of the windows whose records tell it.
        known_frames: How many frames these windows have.
    """

    inspection: Inspection
    samples: tuple[LabelledSample, ...]
    population: int
    excluded: int
    waiting: int
    nonresponse: float
    windows: int
    known: Mapping[Cell, int] = field(default_factory=dict)
    known_frames: int = 0

    @property
    def p(self) -> NDArray[np.float64]:
        """Inclusion probabilities, [n]."""
        return np.array([sample.p for sample in self.samples], dtype=np.float64)

    @property
    def defects(self) -> NDArray[np.float64]:
        """1 for a defect, [n]."""
        return np.array([float(sample.defect) for sample in self.samples], dtype=np.float64)
