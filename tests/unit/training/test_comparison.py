"""What a decision leaves of both models' answers: cells, flips, fixed defects."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_client.contract.engine_metadata import ClassInfo, Kind, Thresholds
from training.comparison import comparison_of
from training.evidence import Evidence, PairedSet

CLASSES = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="crack", kind=Kind.DEFECT))


def evidence(risks: list[tuple[int, float, float, float, str]], **more: object) -> Evidence:
    """(label, risk before, risk after, weight, group) of each frame."""
    label, before, after, weight, group = (np.array(column) for column in zip(*risks, strict=True))
    n = len(label)
    rows = PairedSet(
        ids=np.array([f"s{i}" for i in range(n)]),
        labels=label.astype(np.int64),
        champion=np.stack([1 - before, before], axis=1).astype(np.float32),
        challenger=np.stack([1 - after, after], axis=1).astype(np.float32),
        weight=weight.astype(np.float64),
        device=np.full(n, "d"),
        station=np.full(n, "s"),
        group=group,
        captured_at=np.datetime64("2031-01-01", "us") + np.arange(n)[::-1] * np.timedelta64(1, "h"),
    )
    return Evidence(classes=CLASSES, field=rows, **more)  # type: ignore[arg-type]


FOUR = [
    (1, 0.2, 0.9, 10.0, "a"),  # escaped, is stopped now
    (1, 0.1, 0.8, 4.0, "b"),  # so does this one
    (0, 0.7, 0.1, 3.0, "c"),  # was a false alarm
    (0, 0.2, 0.6, 2.0, "d"),  # is one now
    (0, 0.1, 0.1, 50.0, "e"),
]


def test_cells_sum_labels_by_what_each_engine_says() -> None:
    found = comparison_of(evidence(FOUR))
    assert found is not None
    json.dumps(found, allow_nan=False)
    cells = {(c["label"], c["before"], c["after"]): c for c in found["sets"]["field"]["cells"]}
    fixed = cells["crack", "ok", "defect"]
    assert (fixed["n"], fixed["units"], fixed["weight"], fixed["square"]) == (2, 2, 14.0, 116.0)
    assert cells["ok", "defect", "ok"]["weight"] == 3.0
    assert sum(c["weight"] for c in cells.values()) == found["sets"]["field"]["weight"] == 69.0


def test_near_duplicates_that_went_one_way_are_one_unit() -> None:
    found = comparison_of(evidence([(1, 0.2, 0.9, 10.0, "a"), (1, 0.1, 0.8, 4.0, "a"), *FOUR[2:]]))
    assert found is not None
    fixed = next(c for c in found["sets"]["field"]["cells"] if c["defect"])
    assert (fixed["n"], fixed["units"], fixed["square"]) == (2, 1, 196.0)


def test_each_engine_is_held_to_its_own_thresholds_and_its_unsure_band() -> None:
    limits = (Thresholds(defect=0.05, unsure_low=0.05, unsure_high=0.05), Thresholds(unsure_low=0.05, unsure_high=0.85))
    found = comparison_of(evidence(FOUR, thresholds=limits))
    assert found is not None
    said = {(c["before"], c["after"]) for c in found["sets"]["field"]["cells"]}
    assert said == {("defect", "defect"), ("defect", "unsure")}


def test_flips_are_told_both_ways_the_clearest_first_and_fixed_defects_by_time() -> None:
    found = comparison_of(evidence(FOUR))
    assert found is not None
    assert [frame["id"] for frame in found["gained"]["frames"]] == ["s0", "s1", "s2"]
    assert [frame["id"] for frame in found["lost"]["frames"]] == ["s3"]
    assert found["lost"]["frames"][0]["after"] == "crack"
    assert found["fixed"] == ["s1", "s0"]  # s1 was captured first


def test_a_first_model_has_nothing_to_be_compared_with() -> None:
    only = evidence(FOUR)
    assert only.field is not None
    assert comparison_of(replace(only, field=replace(only.field, champion=None))) is None


@pytest.mark.parametrize("label", [0, 1])
def test_a_set_of_one_kind_alone_is_still_json(label: int) -> None:
    found = comparison_of(evidence([(label, 0.2, 0.9, 10.0, "a"), (label, 0.3, 0.4, 1.0, "b")]))
    json.dumps(found, allow_nan=False)
