import numpy as np

from training.places import AXES, learn_places


def frames(seed: int, n: int, channels: int = 8) -> np.ndarray:
    """n frames of 4x5 places; each place has a mean of its own, six standard deviations apart and more."""
    means = np.random.default_rng(99).normal(0, 6, (4, 5, channels))
    return (means + np.random.default_rng(seed).normal(0, 1, (n, 4, 5, channels))).astype(np.float16)


def origins(n: int, field: int = 0) -> list[np.ndarray]:
    return [np.arange(n) < n - field, np.arange(n) >= n - field]


def test_what_is_usual_elsewhere_is_strange_at_its_own_place() -> None:
    places = learn_places(frames(0, 200), origins(200), np.random.default_rng(0))
    fresh = frames(1, 20)
    usual = places.distance(fresh)
    swapped = fresh.copy()
    swapped[:, 0, 0], swapped[:, 3, 4] = fresh[:, 3, 4], fresh[:, 0, 0]
    strange = places.distance(swapped)
    assert strange[:, 0, 0].min() > 2 * usual.max()
    assert strange[:, 3, 4].min() > 2 * usual.max()
    np.testing.assert_array_equal(strange[:, 1:3], usual[:, 1:3])


def test_distances_are_those_of_the_gaussian_that_made_the_frames() -> None:
    places = learn_places(frames(0, 600), origins(600), np.random.default_rng(0))
    squares = np.square(places.distance(frames(1, 200))).ravel()
    # Chi-square of 8 degrees: mean 8, the mean of 4,000 is known to sqrt(16 / 4000) = 0.06; the covariances of 600
    # frames add 8 * 9 / 600 = 0.12, and what they lean on takes off less than that.
    assert abs(squares.mean() - 8) < 0.4


def test_ten_frames_lean_on_all_places_together() -> None:
    wide = frames(0, 10, channels=60)
    places = learn_places(wide, origins(10), np.random.default_rng(0))
    assert places.factor.shape == (4, 5, AXES, AXES)
    seen, fresh = places.distance(wide), places.distance(frames(1, 100, channels=60))
    # Ten frames have nine directions at a place: alone they would be infinitely far in the 23 others.
    assert np.isfinite(fresh).all()
    assert np.median(fresh) < 2 * np.median(seen)


def test_a_few_field_frames_weigh_as_much_as_the_factory() -> None:
    factory, field = frames(0, 100), frames(1, 10) + np.float16(40)
    both = learn_places(np.concatenate([factory, field]), origins(110, field=10), np.random.default_rng(0))
    alone = learn_places(factory, origins(100), np.random.default_rng(0))
    new_product = frames(2, 20) + np.float16(40)
    ratio = both.distance(new_product).mean() / both.distance(frames(3, 20)).mean()
    assert 0.7 < ratio < 1.4
    assert alone.distance(new_product).mean() > 5 * alone.distance(frames(3, 20)).mean()


def test_frames_that_never_differ_give_finite_factors() -> None:
    same = np.repeat(frames(0, 1), 6, axis=0)
    places = learn_places(same, origins(6), np.random.default_rng(0))
    assert np.isfinite(places.factor).all()
    assert places.distance(same).max() < 1e-2


def test_the_same_seed_gives_the_same_places() -> None:
    one, two = (learn_places(frames(0, 50), origins(50), np.random.default_rng(3)) for _ in range(2))
    assert one.factor.tobytes() == two.factor.tobytes()
    assert one.mean.tobytes() == two.mean.tobytes()
