from __future__ import annotations

import numpy as np
import pytest

from training.evaluate import average_precision
from training.gate_simulation import Line, average_precision_of, evidence_of, labelled, separation_of


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_model_of_a_stated_average_precision_has_it_on_the_line(share: float) -> None:
    rng = np.random.default_rng(0)
    line = Line(defect_share=share, champion=0.7, unequal=False)
    rows = evidence_of(labelled(line, 30_000, rng), 0.8, rng.normal(size=30_000)).field
    assert rows is not None
    for table, expected in ((rows.champion, 0.7), (rows.challenger, 0.8)):
        assert table is not None
        found = average_precision(rows.labels == 1, table[:, 1], resamples=5)
        assert found.value == pytest.approx(expected, abs=0.03)  # 1,500 positives and more: standard error below 0.01


def test_unequal_chances_are_made_good_by_their_weights() -> None:
    rng = np.random.default_rng(1)
    rows = evidence_of(labelled(Line(), 40_000, rng), 0.7, rng.normal(size=40_000)).field
    assert rows is not None
    assert rows.champion is not None
    plain, weighted = (
        average_precision(rows.labels == 1, rows.champion[:, 1], weight=w, resamples=5).value
        for w in (None, rows.weight)
    )
    assert weighted == pytest.approx(0.7, abs=0.02)
    assert abs(plain - 0.7) > 0.02  # what was kept is not what passed


def test_separation_and_average_precision_are_each_others_inverse() -> None:
    for precision in (0.2, 0.35, 0.7, 0.99):
        assert average_precision_of(separation_of(precision, 0.2), 0.2) == pytest.approx(precision, abs=1e-3)


def test_more_labels_of_one_line_go_on_from_those_that_are_there() -> None:
    have = labelled(Line(), 500, np.random.default_rng(2))
    first = have.first(100)
    assert (first.labels == have.labels[:100]).all()
    assert have.first(have.until(20)).labels.sum() == 20
