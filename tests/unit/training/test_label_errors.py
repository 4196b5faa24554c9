from __future__ import annotations

import numpy as np
import pytest

from training.label_errors import confident_joint, suspect_labels


def noisy(seed: int, n: int, rate: float, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of which a share is wrong, and probabilities of a model that is mostly right."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, n, p=[0.7, 0.2, 0.1][:classes])
    logits = rng.normal(0, 1, (n, classes))
    logits[np.arange(n), truth] += 3.5
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = rng.random(n) < rate
    given = np.where(wrong, (truth + rng.integers(1, classes, n)) % classes, truth)
    return given, p, wrong


@pytest.mark.parametrize(("rate", "precision", "recall"), [(0.05, 0.6, 0.6), (0.2, 0.85, 0.8)])
def test_most_wrong_labels_are_suggested_and_few_right_ones(rate: float, precision: float, recall: float) -> None:
    given, p, wrong = noisy(1, 2000, rate)
    rows = np.array([s.row for s in suspect_labels(given, p)])
    assert wrong[rows].mean() > precision
    assert wrong[rows].sum() / wrong.sum() > recall


def test_a_class_that_the_model_finds_hard_is_not_doubted_wholesale() -> None:
    """The mean probability of a class is its threshold: argmax alone would doubt every third of the hard class."""
    rng = np.random.default_rng(2)
    given = np.repeat([0, 1], [300, 100])
    hard = np.concatenate([rng.uniform(0.0, 0.3, 300), rng.uniform(0.35, 0.65, 100)])
    p = np.stack([1 - hard, hard], axis=1)
    assert (p.argmax(axis=1) != given)[300:].mean() > 0.3
    assert len(suspect_labels(given, p)) < 5


def test_the_weakest_label_comes_first_and_says_what_it_may_be() -> None:
    given, p, _ = noisy(3, 500, 0.1)
    found = suspect_labels(given, p)
    assert [s.confidence for s in found] == sorted(s.confidence for s in found)
    for suspect in found:
        assert suspect.given == given[suspect.row]
        assert p[suspect.row, suspect.suggested] > p[suspect.row, suspect.given]


def test_the_joint_counts_every_label_once() -> None:
    given, p, _ = noisy(4, 700, 0.2)
    joint = confident_joint(given, p)
    assert joint.sum(axis=1) == pytest.approx(np.bincount(given))
    assert joint[0, 1] + joint[0, 2] > 0.05 * joint[0].sum()


def test_nothing_is_doubted_where_nothing_can_be_known() -> None:
    assert suspect_labels(np.zeros(5, dtype=np.int64), np.ones((5, 1))) == []
    assert suspect_labels(np.zeros(5, dtype=np.int64), np.full((5, 2), 0.5)) == []
    with pytest.raises(ValueError, match="finite"):
        suspect_labels(np.array([0, 1]), np.array([[0.5, np.nan], [0.5, 0.5]]))
