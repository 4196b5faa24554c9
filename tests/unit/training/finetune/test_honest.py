"""What the trunk was trained on teaches the head and judges nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.examples import FACTORY, BadExamples, Examples
from training.plans import DEFAULT, choose_plan

CLASSES = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="defect", kind=Kind.DEFECT))
N = 200


def leaking() -> Examples:
    """The first half's features tell the label; what the other half's tell is nothing."""
    random = np.random.default_rng(0)
    labels = (np.arange(N) % 4 == 0).astype(np.int64)
    features = random.standard_normal((N, 12)).astype(np.float32)
    features[: N // 2, 0] += 6 * labels[: N // 2]
    names = np.array([f"part-{i}" for i in range(N)])
    return Examples(
        ids=names, labels=labels, groups=names, origin=np.full(N, FACTORY), probability=np.full(N, np.nan),
        device=names, station=names, features=features, seen=np.arange(N) < N // 2,
    )  # fmt: skip


def claimed(examples: Examples) -> tuple[float, str]:
    chosen = choose_plan(examples, CLASSES, 0, anomaly=np.zeros(N, dtype=np.float32), plans=[DEFAULT])
    return chosen.table[0].score, chosen.measure


def test_plans_are_measured_on_what_the_trunk_has_not_seen() -> None:
    examples = leaking()
    score, measure = claimed(examples)
    assert "on 100 all examples" in measure
    # A quarter are defects: chance is about 0.25, of 25 positives with a standard error of 0.06.
    assert score < 0.25 + 4 * 0.06
    assert claimed(replace(examples, seen=None))[0] > 0.6  # what would be claimed otherwise


def test_where_everything_was_seen_everything_speaks() -> None:
    assert replace(leaking(), seen=np.ones(N, dtype=bool)).speaks.all()


def test_selecting_rows_keeps_what_was_seen_of_them() -> None:
    examples = leaking()
    some = examples.select(np.array([0, 150, 99]))
    assert some.seen is not None
    assert some.seen.tolist() == [True, False, True]
    assert replace(examples, seen=None).select(np.array([0])).seen is None
    with pytest.raises(BadExamples, match="seen"):
        replace(examples, seen=np.ones(3, dtype=bool))
