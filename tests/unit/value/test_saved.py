"""What a version avoids: the signs, the doubt, and that the interval holds the truth as often as it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from data.value.amounts import Amount, apart, together
from data.value.fixing import median_of
from data.value.saved import Cell, saved_by, stopped_share
from data.value.sending import SizeSums, mean_bytes


def cell(defect: bool, before: bool, after: bool, weights: Sequence[float]) -> Cell:
    w = np.asarray(weights, dtype=np.float64)
    return Cell(
        label="crack" if defect else "ok", defect=defect, before=before, after=after, n=len(w), units=len(w),
        weight=float(w.sum()), square=float((w**2).sum()), certain=int((w <= 1).sum()),
    )  # fmt: skip


def test_a_defect_that_is_stopped_now_is_an_escape_avoided_and_an_ok_frame_let_pass_a_false_alarm() -> None:
    found = saved_by(
        [
            cell(True, False, True, [10.0] * 5),
            cell(False, True, False, [4.0] * 5),
            cell(False, False, False, [93.0] * 10),
        ]
    )
    assert found.escapes.value == pytest.approx(50 / 1000)
    assert found.alarms.value == pytest.approx(20 / 1000)
    worse = saved_by([cell(True, True, False, [10.0] * 5), cell(False, False, False, [95.0] * 10)])
    assert worse.escapes.value == pytest.approx(-0.05)
    assert worse.escapes.low < -0.05 < worse.escapes.high


def test_models_that_never_differ_may_still_differ_in_four_of_n() -> None:
    same = saved_by([cell(True, True, True, [10.0] * 10), cell(False, False, False, [10.0] * 90)])
    assert same.escapes.value == 0.0
    assert same.escapes.low == pytest.approx(-0.03, abs=0.008)
    assert same.escapes.high == pytest.approx(0.03, abs=0.008)


def test_an_event_nobody_found_weighs_less_where_the_models_were_seen_to_differ() -> None:
    # the only frames that were stopped and are passed are ok, and were all captured at a high chance
    cells = [cell(False, True, False, [2.0] * 10), cell(False, False, False, [100.0] * 10)]
    # ten of them weigh 2, and z² = 3.84 typical frames 98: 28.7 together, where a typical frame alone would say 98
    assert saved_by(cells).escapes.low == pytest.approx(-3.69 * 28.7 / 1020, rel=0.01)


def test_what_was_certain_to_be_drawn_leaves_no_doubt() -> None:
    found = saved_by(
        [cell(True, False, True, [1.0] * 5), cell(True, True, False, [1.0] * 2), cell(False, False, False, [1.0] * 93)]
    )
    assert (found.escapes.value, found.escapes.low, found.escapes.high) == pytest.approx((0.03, 0.03, 0.03))


#: kind, before, after, share of the line, inclusion probabilities of its two halves
_LINE: list[tuple[bool, bool, bool, float, tuple[float, float]]] = [
    (True, True, True, 0.02, (0.3, 0.2)),
    (True, False, True, 0.008, (0.12, 0.03)),
    (True, True, False, 0.003, (0.25, 0.1)),
    (True, False, False, 0.004, (0.02, 0.01)),
    (False, True, False, 0.02, (0.25, 0.05)),
    (False, False, True, 0.005, (0.2, 0.03)),
    (False, True, True, 0.02, (0.3, 0.2)),
    (False, False, False, 0.92, (0.02, 0.008)),
]  # fmt: skip


def _told(rng: np.random.Generator, frames: int, line: list[Any]) -> list[Cell]:
    cells = []
    for defect, before, after, share, chances in line:
        half = round(frames * share / 2)
        weights = np.concatenate([np.full(rng.binomial(half, p), 1 / p) for p in chances])
        if len(weights):
            cells.append(cell(defect, before, after, weights))
    return cells


@pytest.mark.parametrize("frames", [5_000, 50_000])
def test_the_interval_holds_the_truth_as_often_as_it_says(frames: int) -> None:
    # Drawn 300 times: at 95 % the standard error of the coverage is 1.3 %, so 92 % is more than two below.
    rng, times = np.random.default_rng(7), 300
    total = sum(2 * round(frames * share / 2) for *_, share, _ in _LINE)
    size = {(d, b, a): 2 * round(frames * share / 2) / total for d, b, a, share, _ in _LINE}
    escapes = size[True, False, True] - size[True, True, False]
    alarms = size[False, True, False] - size[False, False, True]
    held, values = np.zeros(2), []
    for _ in range(times):
        found = saved_by(_told(rng, frames, _LINE))
        held += [found.escapes.low <= escapes <= found.escapes.high, found.alarms.low <= alarms <= found.alarms.high]
        values.append(found.escapes.value)
    assert (held / times >= 0.92).all(), held / times
    assert np.mean(values) == pytest.approx(escapes, abs=4 * float(np.std(values)) / times**0.5)


def test_sums_that_share_labels_are_as_wide_as_they_can_be() -> None:
    one = Amount(value=2.0, low=1.0, high=5.0, n=10)
    assert together([one, one]) == Amount(value=4.0, low=2.0, high=10.0, n=10)
    assert apart([one, one]).low == pytest.approx(4 - 2**0.5)


def test_the_medians_interval_holds_it_as_often_as_it_says() -> None:
    rng, times = np.random.default_rng(3), 400
    draws = rng.exponential(10.0, (times, 15))
    found = [median_of(row.tolist()) for row in draws]
    held = np.mean([m is not None and m.low <= 10 * np.log(2) <= m.high for m in found])
    assert held >= 0.93  # exact is 96.5 %; its standard error here is 0.9 %
    assert median_of([]) is None
    assert median_of([4.0]) == Amount(value=4.0, low=4.0, high=4.0, n=1)


def test_the_mean_size_of_a_frame_follows_from_captured_ones_of_unequal_chances() -> None:
    rng, times, held = np.random.default_rng(5), 300, 0
    sizes = rng.lognormal(10, 0.4, 4_000)
    chances = np.clip(sizes / sizes.mean() * 0.03, 0.005, 1)  # large frames are captured more often
    for _ in range(times):
        here = rng.random(4_000) < chances
        b, p = sizes[here], chances[here]
        doubt = (1 - p) / p**2
        sums = SizeSums(
            n=len(b), weight=float((1 / p).sum()), sized=float((b / p).sum()), doubt=float(doubt.sum()),
            doubt_sized=float((b * doubt).sum()), doubt_squared=float((b * b * doubt).sum()),
        )  # fmt: skip
        found = mean_bytes(sums)
        assert found is not None
        held += found.low <= sizes.mean() <= found.high
    assert held / times >= 0.91  # a ratio of 120 samples; the standard error of the coverage is 1.3 %


def test_recall_of_a_class_has_an_interval_that_knows_unequal_weights() -> None:
    cells = [cell(True, False, True, [10.0] * 5), cell(True, True, True, [1.0] * 50)]
    before, after = stopped_share(cells, after=False), stopped_share(cells, after=True)
    assert before is not None
    assert after is not None
    assert before.value == pytest.approx(0.5)
    assert before.high - before.low > 0.45  # five frames carry half of the weight: 55 alike would give 0.28
    assert after.high == 1.0
    assert stopped_share([], after=True) is None
