"""What a decision leaves for people and for later: how two models answered the same labelled frames.

1. A verdict is the device's: each engine's own thresholds and its unsure band. The anomaly alarm, which needs the
   frame itself, is left out for both alike. *Passed* is the verdict ``ok``; everything else stops the part.
2. Frames that share a group and went the same way are one unit, which weighs what they weigh together:
   near-duplicates are not several pieces of evidence.
3. Only sums leave this module: of each (label, before, after) how many frames, how many units, of these how many were
   certain to be drawn, W and W². From these every difference in escapes and false alarms follows with its interval
   (:mod:`data.value.saved`), and nothing grows with the number of labels but two bounded lists of frames.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evidence import Evidence, PairedSet
from training.gate_report import measures_of_both

MOST_FRAMES = 60  # shown in a direction
MOST_FIXED = 500  # ids of defects that are stopped now and were passed
_ROUNDING = 1e-9  # of a weight that is 1
_PASSED, _UNSURE, _REJECTED = VERDICTS = ("ok", "unsure", "defect")

Verdicts = NDArray[np.str_]


def comparison_of(evidence: Evidence, *, seed: int = 0) -> dict[str, Any] | None:
    """Return how champion and challenger answered, as JSON; None without a champion.

    Args:
        evidence: What the gate looked at.
        seed: Of the intervals of the measures.
    """
    named = (("field", evidence.field), ("golden", evidence.golden))
    sets = [(name, rows) for name, rows in named if rows is not None and rows.champion is not None and len(rows)]
    if not sets:
        return None
    said = {name: _verdicts(evidence, rows) for name, rows in sets}
    return {
        "sets": {
            name: {
                "n": len(rows),
                "weight": float(rows.weight.sum()),
                "typical": float(np.sum(rows.weight**2) / np.sum(rows.weight)),
                "cells": _cells(evidence, rows, *said[name]),
                "measures": [_told(row) for row in measures_of_both(evidence, rows, seed)],
            }
            for name, rows in sets
        },
        **dict(zip(("gained", "lost"), _flipped(evidence, sets), strict=True)),
        "fixed": _fixed(evidence, evidence.field, said["field"]) if "field" in said and evidence.field else [],
    }


def _verdicts(evidence: Evidence, rows: PairedSet) -> tuple[Verdicts, Verdicts]:
    """Return what a device would say by the champion and by the challenger, [n] each (rule 1)."""
    before, after = evidence.held(rows)
    assert before is not None
    return _verdict(before, evidence, 0), _verdict(after, evidence, 1)


def _verdict(held: NDArray[np.float64], evidence: Evidence, who: int) -> Verdicts:
    limits = evidence.thresholds[who]
    unsure = (held >= limits.unsure_low) & (held < limits.unsure_high)
    return np.where(unsure, _UNSURE, np.where(held >= limits.defect, _REJECTED, _PASSED))


def _cells(evidence: Evidence, rows: PairedSet, before: Verdicts, after: Verdicts) -> list[dict[str, Any]]:
    """Rule 3, the cells that have frames."""
    cells = []
    for k, info in enumerate(evidence.classes):
        for was in VERDICTS:
            for now in VERDICTS:
                here = (rows.labels == k) & (before == was) & (after == now)
                if not here.any():
                    continue
                _, unit = np.unique(rows.group[here], return_inverse=True)
                together = np.bincount(unit, weights=rows.weight[here])
                cells.append(
                    {
                        "label": info.name,
                        "defect": evidence.is_defect_class[k],
                        "before": was,
                        "after": now,
                        "n": int(here.sum()),
                        "units": len(together),
                        "weight": float(together.sum()),
                        "square": float(np.sum(together**2)),
                        "certain": int(np.count_nonzero(together <= 1 + _ROUNDING)),
                    }
                )
    return cells


def _flipped(evidence: Evidence, sets: list[tuple[str, PairedSet]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the frames that were wrong and are right, and those that were right and are wrong; the clearest first."""
    found: tuple[list[tuple[float, dict[str, Any]]], ...] = ([], [])
    for where, rows in sets:
        assert rows.champion is not None
        before, after = evidence.decided(rows)
        assert before is not None
        was, now = before == rows.labels, after == rows.labels
        risks = evidence.probability(rows.champion), evidence.probability(rows.challenger)
        index = np.arange(len(rows))
        change = rows.challenger[index, rows.labels] - rows.champion[index, rows.labels]
        for i in np.flatnonzero(was != now):
            told = {
                "id": str(rows.ids[i]),
                "where": where,
                "label": evidence.class_names[int(rows.labels[i])],
                "before": evidence.class_names[int(before[i])],
                "after": evidence.class_names[int(after[i])],
                "risk_before": round(float(risks[0][i]), 4),
                "risk_after": round(float(risks[1][i]), 4),
            }
            found[int(was[i])].append((-abs(float(change[i])), told))
    gained, lost = (
        {
            "total": len(one),
            "frames": [told for _, told in sorted(one, key=lambda each: (each[0], each[1]["id"]))[:MOST_FRAMES]],
        }
        for one in found
    )
    return gained, lost


def _fixed(evidence: Evidence, rows: PairedSet, said: tuple[Verdicts, Verdicts]) -> list[str]:
    """Return ids of field defects that the champion passes and the challenger stops, the first captured first."""
    here = evidence.is_defect(rows.labels) & (said[0] == _PASSED) & (said[1] != _PASSED)
    ids = rows.ids[here]
    if rows.captured_at is not None:
        ids = ids[np.argsort(rows.captured_at[here], kind="stable")]
    return [str(each) for each in ids[:MOST_FIXED]]


def _told(row: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"name": row["name"]}
    for who in ("champion", "challenger"):
        told[who] = {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in row[who].to_dict().items()
        }
    return told
