"""How new a frame looks. Numbers in the docstrings are those of the module's rules."""

import numpy as np
import pytest

from edge_client.novelty import Novelty


def frames(seed: int, n: int, width: int, centre: np.ndarray | None = None, spread: float = 1.0) -> np.ndarray:
    """n embeddings around a centre, length 1."""
    found = spread * np.random.default_rng(seed).normal(size=(n, width)) / width**0.5
    if centre is not None:
        found = found + centre
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("width", [8, 64, 100, 1280])
def test_a_new_kind_of_frame_has_twice_the_factor_and_becomes_usual(width: int):
    """Rule 3, for embeddings that are sketched and such that are not."""
    usual, new = frames(1, 2, width)
    novelty = Novelty(np.random.default_rng(0))
    factors = [novelty.factor(e, "a") for e in frames(2, 300, width, usual, 0.3)]
    assert np.mean(factors[100:]) == pytest.approx(1.0, abs=0.15)
    assert novelty.factor(new, "a") == 2.0
    after = [novelty.factor(e, "a") for e in frames(3, 3000, width, new, 0.3)]
    assert np.mean(after[-500:]) < 1.3


def test_a_sketch_orders_frames_as_whole_embeddings_do():
    """Rule 2: against the distances of whole embeddings, over one stream with both kinds of frames."""
    centre, other = frames(4, 2, 1280)
    stream = np.concatenate([frames(5, 400, 1280, centre, 0.3), frames(6, 20, 1280, centre + 0.5 * other, 0.3)])
    novelty = Novelty(np.random.default_rng(0))
    factors = np.array([novelty.factor(e, "a") for e in stream])
    assert factors[400:].mean() > 1.3 * factors[100:400].mean()


def test_a_frame_like_one_before_has_half_the_factor():
    novelty = Novelty(np.random.default_rng(0))
    stream = frames(7, 60, 1280)
    for e in stream:
        novelty.factor(e, "a")
    assert novelty.factor(stream[0], "a") == 0.5


def test_another_space_begins_anew():
    """Rule 1: embeddings of two engines compare only where the embedding id is equal."""
    novelty = Novelty(np.random.default_rng(0))
    stream = frames(8, 60, 128)
    for e in stream:
        novelty.factor(e, "a")
    assert novelty.factor(stream[0], "b") == 1.0
    assert novelty.factor(frames(9, 1, 96)[0], "b") == 1.0


@pytest.mark.parametrize("broken", [0.0, float("nan"), float("inf")])
def test_an_embedding_without_a_direction_is_neither_new_nor_remembered(broken: float):
    one, other = Novelty(np.random.default_rng(0)), Novelty(np.random.default_rng(0))
    stream = frames(10, 40, 256)
    for e in stream[:20]:
        one.factor(e, "a")
        other.factor(e, "a")
        assert one.factor(np.full(256, broken, np.float32), "a") == 1.0
    assert [one.factor(e, "a") for e in stream[20:]] == [other.factor(e, "a") for e in stream[20:]]
