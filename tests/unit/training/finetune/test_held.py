"""Which groups no trunk sees."""

import numpy as np

from training.finetune.held import HELD_SHARE, group_digest, roles_of, seen_by


def names(count: int) -> np.ndarray:
    return np.array([f"lot-{i}" for i in range(count)])


def test_a_group_has_one_role_and_each_example_exactly_one() -> None:
    groups = np.repeat(names(300), 3)
    roles = roles_of(groups, stopping=True)
    assert (roles.held.astype(int) + roles.shown + roles.stopping == 1).all()
    for mask in (roles.held, roles.stopping):
        assert (mask.reshape(-1, 3).all(axis=1) == mask.reshape(-1, 3).any(axis=1)).all()


def test_a_group_keeps_its_role_whatever_else_there_is() -> None:
    few, many = roles_of(names(50), stopping=True), roles_of(names(5_000), stopping=True)
    assert (few.held == many.held[:50]).all()
    assert (few.stopping == many.stopping[:50]).all()


def test_about_the_stated_share_of_groups_is_held() -> None:
    n = 5_000
    found = roles_of(names(n), stopping=False).held.mean()
    assert abs(found - HELD_SHARE) < 4 * np.sqrt(HELD_SHARE * (1 - HELD_SHARE) / n)  # four standard errors


def test_without_stopping_all_that_is_not_held_is_shown() -> None:
    roles = roles_of(names(100), stopping=False)
    assert not roles.stopping.any()
    assert (roles.shown == ~roles.held).all()


def test_what_a_trunk_has_seen_is_told_by_group() -> None:
    groups = np.array(["a", "b", "a", "c"])
    assert seen_by(groups, [group_digest("a")]).tolist() == [True, False, True, False]
    assert not seen_by(groups, []).any()
