from __future__ import annotations

import numpy as np
import pytest

from data.label_gain import PRIOR_VARIANCE, choose_by_gain, doubt
from edge_client.contract.engine_metadata import ClassInfo, Kind

OK, CRACK, VOID = (
    ClassInfo(name="ok", kind=Kind.OK),
    ClassInfo(name="crack", kind=Kind.DEFECT),
    ClassInfo(name="void", kind=Kind.DEFECT),
)


def looks(seed: int, m: int, width: int = 12) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(m, width)).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def variance_left(vectors: np.ndarray, doubts: np.ndarray, matters: np.ndarray, told: list[int]) -> float:
    """The textbook's way: the posterior of a linear head, given labels of these precisions."""
    centred = (vectors - vectors.mean(axis=0)).astype(np.float64)
    centred /= np.sqrt(np.square(centred).sum(axis=1).mean())
    centred = np.hstack([centred, np.ones((len(centred), 1))])
    precision = np.eye(centred.shape[1]) / PRIOR_VARIANCE
    for i in told:
        precision += doubts[i] * np.outer(centred[i], centred[i])
    spread = np.linalg.inv(precision)
    return float(matters @ np.einsum("md,de,me->m", centred, spread, centred))


def test_each_choice_takes_away_the_most_variance_that_any_label_could() -> None:
    rng = np.random.default_rng(3)
    m = 40
    vectors, doubts, frames = looks(3, m), rng.uniform(0.06, 0.25, m), rng.uniform(1, 4, m)
    known = np.arange(m) < 6
    gained = choose_by_gain(vectors, doubts, frames, known=known, choosable=np.arange(m) % 3 != 0, n=5)
    matters, told = frames * doubts, list(range(6))
    for row, gain in zip(gained.chosen.tolist(), gained.gain.tolist(), strict=True):
        before = variance_left(vectors, doubts, matters, told)
        left = {i: variance_left(vectors, doubts, matters, [*told, i]) for i in range(6, m) if i % 3 and i not in told}
        assert left[row] == pytest.approx(min(left.values()))
        assert gain == pytest.approx(1 - left[row] / before, rel=1e-3)
        told.append(row)


def test_a_typical_frame_comes_first_then_each_kind_once() -> None:
    """Three kinds of 60, 30 and 9 frames, and one stray: a label for each kind, the most frequent first."""
    rng = np.random.default_rng(4)
    kind = np.repeat([0, 1, 2, 3], [60, 30, 9, 1])
    vectors = (np.eye(8)[kind] + rng.normal(0, 0.02, (100, 8))).astype(np.float32)
    none = np.zeros(100, dtype=bool)
    same = np.full(100, 0.2)
    first = choose_by_gain(vectors, same, np.ones(100), known=none, choosable=~none, n=3).chosen
    assert kind[first].tolist() == [0, 1, 2]
    # Frames that each stand for many count as many; clear answers do not matter.
    stands = np.where(kind == 2, 40.0, 1.0)
    assert kind[choose_by_gain(vectors, same, stands, known=none, choosable=~none, n=1).chosen[0]] == 2
    clear = np.where(kind == 0, 0.001, 0.2)
    assert kind[choose_by_gain(vectors, clear, np.ones(100), known=none, choosable=~none, n=1).chosen[0]] == 1


def test_what_is_known_is_not_asked_again_nor_what_may_not_be_chosen() -> None:
    kind = np.repeat([0, 1], [30, 10])
    vectors = (np.eye(4)[kind] + np.random.default_rng(5).normal(0, 0.01, (40, 4))).astype(np.float32)
    known = np.arange(40) < 4  # of the first kind
    gained = choose_by_gain(vectors, np.full(40, 0.2), np.ones(40), known=known, choosable=np.ones(40, bool), n=1)
    assert kind[gained.chosen[0]] == 1
    free = np.arange(40) == 20
    gained = choose_by_gain(vectors, np.full(40, 0.2), np.ones(40), known=known, choosable=free, n=5)
    assert gained.chosen.tolist() == [20]
    assert 0 < gained.unknown[0] < 0.7


def test_frames_that_all_look_the_same_are_told_of_by_one_label() -> None:
    vectors = np.ones((5, 3), dtype=np.float32)
    none = np.zeros(5, dtype=bool)
    gained = choose_by_gain(vectors, np.full(5, 0.2), np.ones(5), known=none, choosable=~none, n=2)
    assert gained.gain[0] == pytest.approx(20 / (20 + 5))  # variance 20, noise 1 / 0.2
    assert gained.gain[1] == pytest.approx(4 / (4 + 5))
    assert not len(choose_by_gain(vectors, np.full(5, 0.2), np.ones(5), known=none, choosable=none, n=2).chosen)


def test_doubt_is_largest_where_the_answer_is_open() -> None:
    two = np.array([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0], [0.0, 0.0]])
    assert doubt(two, np.full(4, np.nan), [OK, CRACK]) == pytest.approx([0.25, 0.09, 0.0, 0.25])
    three = np.array([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0]])
    assert doubt(three, np.full(2, np.nan), [OK, CRACK, VOID]) == pytest.approx([1 / 3, 0.25])
    one = doubt(np.ones((3, 1)), np.array([1.0, 2.0, np.nan]), [CRACK])
    assert one.tolist() == [0.25, 0.0, 0.25]
