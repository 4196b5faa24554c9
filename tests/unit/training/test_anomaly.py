import numpy as np
import pytest

from training.anomaly import TooFewOkFrames, build_bank


def cloud(seed: int, n: int, centre: float = 0.0) -> np.ndarray:
    """n frames of 6x6 patches with 3 channels, few enough that a bank covers them."""
    return np.random.default_rng(seed).normal(centre, 1, (n, 6, 6, 3)).astype(np.float16)


def names(n: int) -> np.ndarray:
    return np.array([f"g{i}" for i in range(n)])


ALL = np.ones
NONE = np.zeros


def test_frames_like_those_seen_rarely_reach_one_and_strange_frames_do() -> None:
    scored = build_bank(cloud(0, 200), names(200), ALL(200, bool), NONE(200, bool), seed=0, size=512, alarm_rate=0.05)
    fresh = scored.bank.score(cloud(1, 400))
    # Conformal: expected 5 %, standard error of a share of 400 about 1.1 % plus that of the quantile of 200, 1.5 %.
    assert (fresh >= 1).mean() < 0.05 + 3 * 0.019
    strange = cloud(2, 10)
    strange[:, 2:4, 2:4] += 6
    assert (scored.bank.score(strange) > 1).all()


def test_examples_are_scored_by_banks_that_have_not_seen_them() -> None:
    patches = cloud(0, 60)
    scored = build_bank(patches, names(60), ALL(60, bool), NONE(60, bool), seed=0, size=60 * 36)
    # A bank as large as the set knows each patch itself: judged by it, every frame is at distance zero.
    assert scored.bank.distances(patches)[0].max() < 0.05
    assert scored.scores.min() > 0.12


def test_a_group_never_straddles_bank_and_judged() -> None:
    patches = cloud(0, 40)
    patches[1::2] = patches[::2]  # twins, of one group
    twins = np.repeat(names(20), 2)
    apart = build_bank(patches, twins, ALL(40, bool), NONE(40, bool), seed=0, size=40 * 36)
    assert apart.scores.min() > 0.12
    mixed = build_bank(patches, names(40), ALL(40, bool), NONE(40, bool), seed=0, size=40 * 36)
    assert mixed.scores.min() < 0.05


def test_a_few_field_frames_get_half_the_bank_after_a_product_change() -> None:
    patches = np.concatenate([cloud(0, 100), cloud(1, 30, centre=8.0)])
    field = np.arange(130) >= 100
    before = build_bank(patches[:100], names(100), ALL(100, bool), field[:100], seed=0, size=64)
    after = build_bank(patches, names(130), ALL(130, bool), field, seed=0, size=64)
    new_product = cloud(2, 50, centre=8.0)
    assert (before.bank.score(new_product) > 1).mean() > 0.9
    assert (after.bank.score(new_product) > 1).mean() < 0.2
    assert (after.bank.score(cloud(3, 50)) > 1).mean() < 0.2


def test_too_few_ok_frames_are_told_with_the_next_step() -> None:
    with pytest.raises(TooFewOkFrames, match=r"has 3 ok frames.*expected at least 4"):
        build_bank(cloud(0, 5), names(5), np.arange(5) < 3, NONE(5, bool), seed=0)


def test_one_group_alone_still_gives_a_threshold_above_zero() -> None:
    scored = build_bank(cloud(0, 8), np.array(["lot"] * 8), ALL(8, bool), NONE(8, bool), seed=0, size=32)
    assert scored.bank.threshold > 0.1


def test_the_same_seed_gives_the_same_bank() -> None:
    one, two, other = (
        build_bank(cloud(0, 50), names(50), ALL(50, bool), NONE(50, bool), seed=s, size=64).bank for s in (1, 1, 2)
    )
    assert one.patches.tobytes() == two.patches.tobytes()
    assert one.threshold == two.threshold
    assert one.patches.tobytes() != other.patches.tobytes()
