from __future__ import annotations

import numpy as np
import pytest

from data.embedding_space import cover_signal, neighbour_opinion, novel_signal, unit
from data.label_scores import Mix, mix_scores
from data.near_duplicates import MOST, group_near_duplicates


def around(rng: np.random.Generator, centre: int, n: int, spread: float = 0.05) -> np.ndarray:
    return unit((np.eye(16)[centre] + rng.normal(0, spread, (n, 16))).astype(np.float32))


def test_what_is_far_from_every_label_is_new() -> None:
    rng = np.random.default_rng(1)
    candidates = np.concatenate([around(rng, 0, 95), around(rng, 1, 5)])
    found = novel_signal(candidates, around(rng, 0, 20))
    assert found is not None
    assert found[95:].min() > 0.9
    assert np.median(found[:95]) < 0.3
    assert novel_signal(candidates, candidates[:0]) is None


def test_neighbours_speak_for_their_labels_once_there_are_enough() -> None:
    rng = np.random.default_rng(2)
    known = np.concatenate([around(rng, 0, 20), around(rng, 1, 20)])
    labels = np.array([0] * 20 + [1] * 20)
    opinion = neighbour_opinion(np.concatenate([around(rng, 0, 3), around(rng, 1, 3)]), known, labels, 3)
    assert opinion is not None
    assert opinion.sum(axis=1) == pytest.approx(np.ones(6))
    assert opinion[:3, 0].min() > 0.95
    assert opinion[3:, 1].min() > 0.95
    assert neighbour_opinion(known, known[:10], labels[:10], 3) is None
    assert neighbour_opinion(known, known[:20], labels[:20], 3) is None  # one class alone is no opinion


def test_each_cluster_gets_the_same_mass_however_many_frames_it_has() -> None:
    rng = np.random.default_rng(3)
    sizes = (300, 60, 40)
    candidates = np.concatenate([around(rng, k, n, 0.01) for k, n in enumerate(sizes)])
    found = cover_signal(candidates, np.ones(400), seed=1)
    assert found is not None
    assert ((found > 0) & (found <= 1)).all()
    mixed = mix_scores({"cover": found}, np.ones(400), Mix(audit_share=0.05))
    by_place = np.split(mixed.values - mixed.values.min(), np.cumsum(sizes)[:-1])
    assert by_place[2].mean() > 1.5 * by_place[0].mean()
    assert np.array_equal(found, cover_signal(candidates, np.ones(400), seed=1))  # seeded
    assert cover_signal(candidates[:30], np.ones(30), seed=1) is None


def test_a_run_is_one_group_and_another_part_or_window_is_not() -> None:
    rng = np.random.default_rng(4)
    still = around(rng, 0, 6, 0.002)
    vectors = [*still, *around(rng, 5, 2, 0.002), still[0]]
    blocks = ["w1"] * 8 + ["w2"]
    assert group_near_duplicates(vectors, blocks, 0.005).tolist() == [0] * 6 + [6, 6, 8]
    assert group_near_duplicates(vectors, blocks, 0.0).tolist() == list(range(9))
    assert group_near_duplicates([None, still[0], None, still[1]], ["w1"] * 4, 0.005).tolist() == [0, 1, 2, 1]


def test_a_slow_drift_does_not_become_one_group() -> None:
    angle = np.linspace(0, np.pi / 2, 200)
    vectors = list(np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32))
    leader = group_near_duplicates(vectors, ["w1"] * 200, 0.005)
    assert len(set(leader.tolist())) > 5
    apart = [1 - float(vectors[i] @ vectors[leader[i]]) for i in range(200)]
    assert max(apart) <= 0.005 + 1e-6


def test_a_group_has_a_bound() -> None:
    still = [np.array([1.0, 0.0], dtype=np.float32)] * (2 * MOST + 1)
    _, sizes = np.unique(group_near_duplicates(still, ["w1"] * len(still), 0.01), return_counts=True)
    assert sizes.tolist() == [MOST, MOST, 1]
