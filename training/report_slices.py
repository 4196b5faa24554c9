"""The gate's report by device, station and time: each part of the field with its interval and its n."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluate import average_precision, balanced_accuracy
from training.evidence import Evidence, PairedSet
from training.slice_checks import slices

_PERIODS = 4
_LEAST = 8  # samples of a period: fewer say nothing


def slice_table(evidence: Evidence, rows: PairedSet, seed: int) -> list[dict[str, Any]]:
    """Return a row for each device, station and period, with both models' measures.

    Args:
        evidence: For classes and thresholds.
        rows: Field samples.
        seed: Of the bootstrap intervals.
    """
    table = []
    for where, mask in [*slices(rows), *periods(rows)]:
        part = rows.select(mask)
        truth = evidence.is_defect(part.labels)
        row: dict[str, Any] = {"where": where, "n": len(part), "defects": int(truth.sum()), "models": []}
        for held, said in zip(evidence.held(part), evidence.decided(part), strict=True):
            if held is None or said is None:
                continue
            ranks = average_precision(truth, held, weight=part.weight, groups=part.group, seed=seed)
            right = balanced_accuracy(truth, evidence.is_defect(said), weight=part.weight, seed=seed)
            row["models"].append({"ranking": ranks, "decisions": right})
        table.append(row)
    return table


def periods(rows: PairedSet) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the masks of up to four periods of as many samples each, where the times are known."""
    if rows.captured_at is None:
        return
    known = np.flatnonzero(~np.isnat(rows.captured_at))
    order = known[np.argsort(rows.captured_at[known], kind="stable")]
    count = min(_PERIODS, len(order) // _LEAST)
    if count < 2:
        return
    for part in np.array_split(order, count):
        mask = np.zeros(len(rows), dtype=bool)
        mask[part] = True
        first, last = (np.datetime_as_string(rows.captured_at[i], unit="m").replace("T", " ") for i in part[[0, -1]])
        yield f"{first} to {last} UTC", mask
