import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.folds import group_folds


@given(
    groups=st.lists(st.integers(0, 15), min_size=1, max_size=60),
    folds=st.integers(2, 6),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_a_group_is_never_split_and_no_fold_is_empty(groups: list[int], folds: int, seed: int) -> None:
    names = np.array([f"g{g}" for g in groups])
    strata = np.array([g % 3 for g in groups])
    fold = group_folds(names, strata, folds=folds, seed=seed)
    assert all(len(set(fold[names == name])) == 1 for name in names)
    assert set(fold) == set(range(min(folds, len(set(groups)))))


def test_every_fold_gets_its_share_of_a_rare_class() -> None:
    strata = np.array([0] * 95 + [1] * 10)
    fold = group_folds(np.arange(105).astype(str), strata, folds=5, seed=3)
    assert np.bincount(fold[strata == 1]).tolist() == [2] * 5
    assert np.bincount(fold[strata == 0]).tolist() == [19] * 5
