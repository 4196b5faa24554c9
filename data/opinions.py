"""What engines said of captured samples, in the inspection's own order of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data.catalog.models import SampleRow
from data.inspections import Inspection

Floats = NDArray[np.float64]


def probabilities_of(rows: Sequence[SampleRow], info: Inspection) -> Floats:
    """Probabilities float64 [n, K]; a class that a sample's engine did not know has 0."""
    names = info.class_names
    found = np.zeros((len(rows), len(names)))
    for i, row in enumerate(rows):
        for name, p in zip(row.classes, row.probabilities, strict=False):
            if name in names:
                found[i, names.index(name)] = float(p)
    return np.clip(found, 0.0, 1.0)


def anomalies_of(rows: Sequence[SampleRow]) -> Floats:
    """Anomaly scores float64 [n], nan where unknown."""
    return np.array([np.nan if row.anomaly is None else row.anomaly for row in rows], dtype=np.float64)


def block_of(row: SampleRow) -> tuple[object, ...]:
    """Only samples of one block can be near-duplicates (:mod:`data.near_duplicates`, rule 1)."""
    return (row.device, row.epoch, row.window, row.engine_id, row.group)
