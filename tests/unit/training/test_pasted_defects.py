"""Pasted defects: what travels, who is paired, and that nothing is judged by them."""

from dataclasses import replace

import numpy as np
import pytest

from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.errors import ConfigError
from training.examples import PASTED, Examples
from training.pasted_defects import MOST_OF_ONE, pairs_of, paste, wanted_of
from training.plans import DEFAULT, choose_plan
from training.prior import population_weight, target_prior

CLASSES = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="crack", kind=Kind.DEFECT))


def cracked() -> tuple[np.ndarray, np.ndarray]:
    """A grey frame with a dark square of 6 x 4 pixels, and its mark."""
    frame = np.full((40, 60, 3), 150, dtype=np.uint8)
    mark = np.zeros((40, 60), dtype=np.bool_)
    mark[10:16, 20:24] = True
    frame[mark] = 30
    return frame, mark


def test_the_defect_travels_with_its_seam_and_takes_the_brightness_of_its_new_place() -> None:
    frame, mark = cracked()
    ground = np.full((50, 50, 3), 90, dtype=np.uint8)
    pasted = paste(ground, frame, mark, seed=1)
    changed = np.abs(pasted.astype(int) - 90).max(axis=2)
    dark = pasted.max(axis=2) < 20  # 120 darker than its ground was, on a ground of 90: black
    assert 12 <= dark.sum() <= 24
    assert (changed > 2).sum() <= 10 * 8  # the mark, two pixels of seam on each side
    assert not (pasted.max(axis=2) > 92).any()  # the ground round the mark came along at its new brightness


def test_the_same_seed_gives_the_same_bytes_and_another_another_place() -> None:
    frame, mark = cracked()
    ground = np.full((50, 50, 3), 90, dtype=np.uint8)
    assert (paste(ground, frame, mark, seed=1) == paste(ground, frame, mark, seed=1)).all()
    assert (paste(ground, frame, mark, seed=1) != paste(ground, frame, mark, seed=2)).any()


@pytest.mark.parametrize("size", [(5, 5), (8, 300), (3, 2)])
def test_a_piece_larger_than_the_ground_is_made_to_fit(size: tuple[int, int]) -> None:
    frame, mark = cracked()
    pasted = paste(np.full((*size, 3), 90, dtype=np.uint8), frame, mark, seed=3)
    assert pasted.shape == (*size, 3)
    assert (pasted != 90).any()


@pytest.mark.parametrize("mark", [np.ones((4, 4), dtype=np.bool_), np.zeros((40, 60), dtype=np.bool_)])
def test_a_mark_of_another_size_or_an_empty_one_is_refused(mark: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="its frame 60 x 40; expected the same size and at least one pixel"):
        paste(np.zeros((9, 9, 3), dtype=np.uint8), cracked()[0], mark, seed=0)


def pairs(n: int, wanted: int, *, marked: int = 3) -> list[tuple[str, str]]:
    labels = (np.arange(n) < 5).astype(np.int64)
    names = [f"image {i}" for i in range(n)]
    found = pairs_of(labels, labels == 0, np.arange(n) < marked, names, wanted=wanted)
    assert all(labels[pair.defect] == 1 and labels[pair.ok] == 0 and pair.label == 1 for pair in found)
    return [(names[pair.defect], names[pair.ok]) for pair in found]


def test_a_class_gets_what_it_lacks_and_one_frame_does_not_give_it_all() -> None:
    assert len(pairs(60, 15)) == 10
    assert len(pairs(60, 5)) == len(pairs(60, 15, marked=0)) == 0
    assert len(pairs(60, 900)) == 3 * MOST_OF_ONE
    assert {source for source, _ in pairs(60, 15)} == {"image 0", "image 1", "image 2"}


def test_new_frames_change_few_pairs() -> None:
    before, after = pairs(200, 50), pairs(220, 50)
    assert len(set(before) - set(after)) <= 12  # a tenth of the grounds is new


def test_without_an_ok_frame_there_is_nothing_to_paste_on() -> None:
    assert pairs_of(np.ones(3, dtype=np.int64), np.zeros(3, bool), np.ones(3, bool), list("abc"), wanted=9) == []


def examples(n: int = 120, pasted: int = 0) -> Examples:
    random = np.random.default_rng(0)
    labels = np.concatenate([(np.arange(n) % 4 == 0), np.ones(pasted)]).astype(np.int64)
    features = random.normal(0, 1, (n + pasted, 12))
    features[:, 0] += 2.0 * labels
    names = np.array([f"s{i}" for i in range(n + pasted)])
    return Examples(
        ids=names,
        labels=labels,
        groups=names,
        origin=np.array(["factory"] * (n // 2) + ["field"] * (n - n // 2) + [PASTED] * pasted),
        probability=np.array([np.nan] * (n // 2) + [0.5] * (n - n // 2) + [np.nan] * pasted),
        device=names,
        station=names,
        features=features.astype(np.float32),
    )


def test_pasted_frames_have_no_share_in_what_the_field_is_like() -> None:
    both, seen = examples(pasted=40), examples()
    assert (population_weight(both)[120:] == 0).all()
    assert population_weight(both)[:120].tolist() == population_weight(seen).tolist()
    assert target_prior(both, 2).tolist() == target_prior(seen, 2).tolist()
    factory = replace(both, origin=np.where(both.real, "factory", PASTED), probability=np.full(160, np.nan))
    assert (population_weight(factory) == factory.real).all()


def test_plans_are_not_judged_by_pasted_frames_but_learn_from_them() -> None:
    plain = choose_plan(examples(), CLASSES, 0, anomaly=np.ones(120, np.float32), plans=[DEFAULT])
    both = choose_plan(examples(pasted=40), CLASSES, 0, anomaly=np.ones(160, np.float32), plans=[DEFAULT])
    assert both.measure == plain.measure  # on as many examples
    assert both.oof.shape == (160, 2)
    assert np.abs(both.oof[:120] - plain.oof).max() > 0.01
    few = replace(examples(pasted=40), origin=np.array(["factory"] * 120 + [PASTED] * 40))
    chosen = choose_plan(few, CLASSES, 0, anomaly=np.ones(160, np.float32), plans=[DEFAULT])
    assert chosen.measure.endswith("on 120 all examples")


@pytest.mark.parametrize("value", [-1, 1_001, 1.5, True, "many"])
def test_a_wish_that_is_no_number_of_examples_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"\[learning\] pasted_defects = .*expected a whole number from 0 to 1000"):
        wanted_of({"pasted_defects": value})


def test_without_a_wish_nothing_is_pasted() -> None:
    assert wanted_of({}) == 0
