from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from training.bootstrap import resampled_counts
from training.evaluate import (
    accuracy,
    average_precision,
    balanced_accuracy,
    class_average_precision,
    confusion,
    rate,
    recall,
)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(1, 5)), min_size=1, max_size=40))
def test_weighted_average_precision_is_scikit_learns_ties_included(rows: list[tuple[bool, int, int]]) -> None:
    truth, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    found = average_precision(truth, score, weight=weight, resamples=5)
    if not truth.any():
        assert math.isnan(found.value)
        assert (found.low, found.high) == (0.0, 1.0)
    else:
        assert found.value == pytest.approx(average_precision_score(truth, score, sample_weight=weight))
        assert found.low <= found.value <= found.high


def test_the_interval_of_average_precision_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    big = np.repeat([False, True], [120_000, 80_000])
    truth_value = average_precision(big, rng.normal(size=200_000) + 1.2 * big, resamples=2).value
    held, trials = 0, 200
    for _ in range(trials):
        labels = np.repeat([False, True], [60, 40])
        found = average_precision(labels, rng.normal(size=100) + 1.2 * labels, resamples=300)
        held += found.low <= truth_value <= found.high
    # 95 % less three standard errors of a share of 200 (0.015), less 0.02 for a percentile interval's known shortfall.
    assert held / trials > 0.95 - 3 * 0.0154 - 0.02


def test_a_perfect_ranking_of_few_samples_is_not_certain() -> None:
    found = average_precision([True] * 5 + [False] * 50, list(range(55, 0, -1)))
    assert found.value == 1.0
    assert found.low < 0.6


def test_measures_of_nothing_are_unknown_and_not_errors() -> None:
    for found in (
        average_precision([], []), average_precision([False], [0.1]), balanced_accuracy([], []), accuracy([], []),
        recall([0, 0], [0, 0], 1), rate([]),
    ):  # fmt: skip
        assert math.isnan(found.value)
        assert (found.low, found.high) == (0.0, 1.0)
        assert found.to_dict()["value"] is None
        assert "unknown" in str(found)


def test_balanced_accuracy_skips_empty_classes_and_knows_its_uncertainty() -> None:
    found = balanced_accuracy([0] * 90 + [2] * 10, [0] * 90 + [2] * 5 + [0] * 5)
    assert found.value == pytest.approx(0.75)
    assert found.low < 0.63
    assert found.high > 0.85
    perfect = balanced_accuracy([0] * 90 + [2] * 10, [0] * 90 + [2] * 10)
    assert perfect.value == perfect.high == 1.0
    assert perfect.low < 0.93


def test_weights_widen_the_exact_interval() -> None:
    plain = rate([True] * 30 + [False] * 70)
    weighted = rate([True] * 30 + [False] * 70, weight=np.where(np.arange(100) % 10 == 0, 20.0, 1.0))
    assert weighted.high - weighted.low > 1.5 * (plain.high - plain.low)


def test_a_confusion_matrix_counts_rows_of_truth() -> None:
    assert confusion([0, 0, 1, 2], [0, 1, 1, 0], 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_average_precision_of_each_class_handles_an_empty_class() -> None:
    found = class_average_precision([0, 0, 1], np.eye(3)[[0, 0, 1]], ["ok", "crack", "void"])
    assert found["ok"].value == 1.0
    assert math.isnan(found["void"].value)


def test_columns_that_disagree_and_weights_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        accuracy([0, 1], [0])
    with pytest.raises(ValueError, match="above 0"):
        accuracy([0, 1], [0, 1], weight=[1, 0])
    with pytest.raises(ValueError, match="nan"):
        average_precision([True, False], [0.1, float("nan")])


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=30), st.integers(0, 5))
def test_resamples_keep_groups_together_and_each_stratums_number_of_groups(
    rows: list[tuple[int, int]], seed: int
) -> None:
    groups = np.array([group for _, group in rows])
    strata = np.array([max(s for s, g in rows if g == group) for _, group in rows])
    counts = np.concatenate(list(resampled_counts(strata, resamples=7, seed=seed, groups=groups)))
    assert counts.shape == (7, len(rows))
    for group in np.unique(groups):
        assert (counts[:, groups == group] == counts[:, groups == group][:, :1]).all()
    first = np.array([np.flatnonzero(groups == group)[0] for group in np.unique(groups)])
    for stratum in np.unique(strata):
        members = first[strata[first] == stratum]
        assert (counts[:, members].sum(axis=1) == len(members)).all()
