import numpy as np
import pytest
from scipy.special import softmax

from training.label_shift import FieldShares, bbse_shares, em_shares, estimate_shares

EVEN = np.full(3, 1 / 3)
FIELD = np.array([0.9, 0.07, 0.03])


def frames(shares: np.ndarray, n: int, seed: int, *, moved: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Answers at even shares, right about classes as they look (unless `moved`), and the true labels."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, n, p=shares)
    seen = random.normal(0, 1, (n, 3)) + 1.5 * np.eye(3)[labels] + np.array([-moved, moved, 0.0])
    return softmax(1.5 * seen, axis=1), labels  # the log density ratio of unit normals 1.5 apart


NOTHING = np.full(4000, -1)


def test_both_find_the_fields_shares_from_answers_alone() -> None:
    known, known_labels = frames(EVEN, 4000, 1)
    said, _ = frames(FIELD, 4000, 2)
    found = estimate_shares(said, NOTHING, np.ones(4000), prior=EVEN, known=known, known_labels=known_labels)
    # Standard errors at n = 4,000 are about 0.01 (EM) and 0.015 (BBSE).
    np.testing.assert_allclose(found.em, FIELD, atol=0.03)
    np.testing.assert_allclose(found.bbse, FIELD, atol=0.05)
    assert found.believed(np.array([0.85, 0.1, 0.05]), 40.0)


def test_em_is_sharper_than_counting_labels_of_as_many_as_a_person_would_give() -> None:
    errors = {"em": [], "labels": []}
    for seed in range(20):
        said, truth = frames(FIELD, 600, 10 + seed)
        em = em_shares(said, np.full(600, -1), np.ones(600), prior=EVEN)
        errors["em"].append(np.abs(em - FIELD).sum())
        errors["labels"].append(np.abs(np.bincount(truth[:60], minlength=3) / 60 - FIELD).sum())
    assert np.mean(errors["em"]) < np.mean(errors["labels"])


def test_frames_that_were_kept_for_looking_odd_are_weighed_down_again() -> None:
    said, _ = frames(FIELD, 20_000, 3)
    kept = np.clip(0.1 + (1 - said[:, 0]), 0, 1)
    rows = np.flatnonzero(np.random.default_rng(0).random(20_000) < kept)
    unknown = np.full(len(rows), -1)
    weighed = em_shares(said[rows], unknown, 1 / kept[rows], prior=EVEN)
    plain = em_shares(said[rows], unknown, np.ones(len(rows)), prior=EVEN)
    np.testing.assert_allclose(weighed, FIELD, atol=0.03)
    assert plain[0] < 0.8


def test_a_label_counts_as_it_is() -> None:
    said = np.tile(EVEN, (10, 1))
    labels = np.array([0] * 7 + [2] * 3)
    np.testing.assert_allclose(em_shares(said, labels, np.ones(10), prior=EVEN), [0.7, 0, 0.3], atol=1e-6)
    known = np.eye(3)
    found = bbse_shares(said, labels, np.ones(10), known=known, known_labels=np.arange(3))
    np.testing.assert_allclose(found, [0.7, 0, 0.3], atol=1e-6)


def test_where_classes_look_otherwise_than_before_neither_is_believed() -> None:
    known, known_labels = frames(EVEN, 4000, 1)
    said, _ = frames(FIELD, 4000, 2, moved=1.5)
    found = estimate_shares(said, NOTHING, np.ones(4000), prior=EVEN, known=known, known_labels=known_labels)
    assert np.abs(found.em - FIELD).max() > 0.1
    assert not found.believed(np.array([0.85, 0.1, 0.05]), 40.0)
    assert not found.believed(np.array([0.85, 0.1, 0.05]), 5.0)


def test_a_handful_of_frames_is_not_believed_either() -> None:
    assert not FieldShares(em=FIELD, bbse=FIELD, frames=20.0).believed(FIELD, 40.0)
    assert FieldShares(em=FIELD, bbse=FIELD, frames=60.0).believed(FIELD, 40.0)
    told = FieldShares(em=FIELD, bbse=FIELD, frames=200.0).metrics(["ok", "dent", "crack"])
    assert told["field_share_em_dent"] == pytest.approx(0.07)
    assert told["field_share_frames"] == 200.0
