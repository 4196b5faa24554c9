"""How tiles are dealt: what measures shares no part with what is learnt from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.label_tiles import BRIGHT, exposure_parts, fresh_parts, piles

CLASSES, PARTS_OF_EACH, EXPOSURES = 3, 9, ("exp1", "exp2", "exp3", "exp4", "exp5", "exp6")


@pytest.fixture
def tiles() -> Any:
    """Nine parts of each class, each photographed once at every exposure."""
    part = np.repeat(np.arange(CLASSES * PARTS_OF_EACH), len(EXPOSURES))
    return SimpleNamespace(
        labels=part // PARTS_OF_EACH, groups=np.array([f"g{i}" for i in part]), classes=("ok", "crack", "fray")
    )


def test_each_class_is_on_each_pile_and_no_part_on_two(tiles: Any) -> None:
    found = piles(tiles, (1 / 3, 1 / 3, 1 / 3), np.random.default_rng(0))
    assert all(len(set(found[tiles.groups == name])) == 1 for name in set(tiles.groups))
    for k in range(CLASSES):
        assert np.bincount(found[tiles.labels == k]).tolist() == [18, 18, 18]


def test_a_fresh_class_comes_from_the_third_round_on(tiles: Any) -> None:
    parts = fresh_parts(tiles, 2, split=1)
    assert 2 not in tiles.labels[np.concatenate([parts.factory, *parts.rounds[:2]])]
    assert all(2 in tiles.labels[rows] for rows in parts.rounds[2:])
    assert set(tiles.labels[parts.holdout]) == {0, 1, 2}
    assert not set(tiles.groups[parts.holdout]) & set(tiles.groups[np.concatenate([parts.factory, parts.stream])])


def test_light_gets_less_from_round_to_round_and_measures_in_the_dark(tiles: Any) -> None:
    exposures = np.tile(np.array(EXPOSURES), CLASSES * PARTS_OF_EACH)
    parts = exposure_parts(tiles, exposures, split=1)
    assert set(exposures[parts.factory]) == set(BRIGHT)
    assert exposures[parts.stream].tolist() == sorted(exposures[parts.stream], reverse=True)
    assert {*exposures[parts.stream], *exposures[parts.holdout]} == set(EXPOSURES) - set(BRIGHT)
    seen = [set(tiles.groups[rows]) for rows in (parts.factory, parts.stream, parts.holdout)]
    assert len(set.union(*seen)) == sum(map(len, seen))
