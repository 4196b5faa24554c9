import numpy as np

from training import space
from training.space import learn_space


def test_many_examples_and_few_give_the_same_axes() -> None:
    random = np.random.default_rng(0)
    features = (random.normal(size=(60, 40)) * np.linspace(0.1, 5, 40)).astype(np.float32)
    score, field, none = np.ones(60, np.float32), np.zeros(60, dtype=bool), np.empty((0, 40), np.float32)
    many = learn_space(features, score, field, none)
    assert many.axes.shape == (40, 40)
    np.testing.assert_allclose(many.axes.T @ many.axes, np.eye(40), atol=1e-5)
    standard = ((features - many.mean) / many.scale).astype(np.float32)
    # Products of examples are all that a penalised linear head sees.
    turned = many.project(features, score)[:, :-1]
    np.testing.assert_allclose(turned @ turned.T, standard @ standard.T, atol=1e-2)
    few = space._principal_axes(standard[:30])
    seen = standard[:30] @ few
    np.testing.assert_allclose(seen @ seen.T, standard[:30] @ standard[:30].T, atol=1e-2)
