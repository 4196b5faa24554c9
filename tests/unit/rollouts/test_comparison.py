"""Comparisons with controls (rules of flows/rollouts/comparison.py), with their error over many looks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from data.rollouts.records import DEFECT, Record, Sums
from flows.rollouts.comparison import Comparison, Finding, bound, compare_latency, compare_rate, widened
from tests.unit.rollouts.made import control, staged


def compare(mine: list[Record], theirs: list[Record], **more: float) -> Comparison:
    return compare_rate(
        "share of defects",
        DEFECT,
        mine,
        theirs,
        limit=more.get("limit", 0.1),
        min_frames=500,
        error=more.get("error", 0.01),
    )


def test_what_happens_to_the_whole_line_is_not_the_engines_doing() -> None:
    moved = compare([staged(0.5, 0.1)], [control(0.5, 0.1), control(0.5, 0.1)])
    assert (moved.finding, moved.controls) == (Finding.FINE, 2)
    assert moved.value == pytest.approx(0.0)
    alone = compare([staged(0.5, 0.1)], [control(0.1, 0.1)])
    assert (alone.finding, alone.controls) == (Finding.BAD, 0)


def test_a_fall_is_a_shift_too_and_lost_requests_only_rise() -> None:
    assert compare([staged(0.05, 0.6)], []).finding is Finding.BAD
    better = compare_rate(
        "lost", DEFECT, [staged(0.0, 0.5)], [], limit=0.1, min_frames=500, error=0.01, two_sided=False
    )
    assert better.finding is Finding.FINE


def test_few_frames_say_nothing_and_some_are_unclear() -> None:
    few = staged(after=Sums().plus(100, {DEFECT: 90.0}))
    assert compare([few], []).finding is Finding.TOO_FEW
    some = staged(after=Sums().plus(600, {DEFECT: 150.0}), earlier=Sums().plus(600, {DEFECT: 60.0}))
    assert compare([some], []).finding is Finding.UNCLEAR
    assert "surely between" in compare([some], []).sentence()


def test_lines_that_differ_from_one_another_widen_the_bounds() -> None:
    alike = compare([staged(0.2, 0.1) for _ in range(11)], [])
    spread = compare([staged(0.1 + 0.02 * i, 0.1) for i in range(11)], [])
    assert alike.value == pytest.approx(spread.value, abs=0.01)
    assert spread.high - spread.low > 1.5 * (alike.high - alike.low)


def test_the_multiple_of_students_t_has_the_tail_of_the_normal() -> None:
    for freedom in (5, 10, 40):
        for z in (2.0, 3.0, 4.5):
            exact = float(stats.t.isf(stats.norm.sf(z), freedom))
            assert exact * 0.99 < widened(z, freedom) < exact * 1.08
    assert bound(0.0, 5.0, limit=0.1, error=0.01) == 0.0


def test_slow_medians_are_bad_and_a_fast_engine_is_not_slow() -> None:
    slow = [staged(p99_after=(30.0,) * 5)]
    assert compare_latency(slow, [], limit=2.0).finding is Finding.BAD
    assert compare_latency([staged(p99_after=(30.0, 8.0, 8.0, 8.0))], [], limit=2.0).finding is Finding.FINE
    fast = [staged(p99_before=(1.0,) * 5, p99_after=(4.0,) * 5)]
    assert compare_latency(fast, [], limit=2.0).finding is Finding.FINE
    assert compare_latency([staged(p99_after=(30.0,))], [], limit=2.0).finding is Finding.TOO_FEW


def test_the_bound_holds_at_all_looks_together_where_that_of_one_look_does_not() -> None:
    """Brownian motion in information time, 400 looks: the share of 2,000 courses that ever leave the bounds.

    At most 5 %, and 3 standard errors of 0.5 % on top; 1.96 standard errors at each look are left by about half.
    """
    rng = np.random.default_rng(7)
    information = np.linspace(200, 40_000, 400)
    steps = rng.normal(0, np.sqrt(np.diff(information, prepend=0.0)), (2_000, 400))
    errors = np.abs(np.cumsum(steps, axis=1) / information)
    wide = np.array([bound(1 / i, 1e9, limit=0.1, error=0.05) for i in information])
    assert (errors > wide).any(axis=1).mean() <= 0.05 + 3 * 0.005
    assert (errors > 1.96 / np.sqrt(information)).any(axis=1).mean() > 0.3


def first_stop(seed: int, *, shift: float, ticks: int) -> int | None:
    """Look after every batch of 200 frames, in parts of four alike, and return the look that stops the engine."""
    rng = np.random.default_rng(seed)
    usual = rng.uniform(0.04, 0.15, 4)  # line by line; the first one is staged

    def batch(sums: Sums, rate: float) -> Sums:
        return sums.plus(200, {DEFECT: float(rng.binomial(50, rate) * 4)})

    earlier, now = [Sums() for _ in usual], [Sums() for _ in usual]
    for i, rate in enumerate(usual):
        for _ in range(20):
            earlier[i] = batch(earlier[i], rate)
    for tick in range(ticks):
        for i, rate in enumerate(usual):
            now[i] = batch(now[i], rate + (shift if i == 0 else 0.0))
        records = [Record(earlier=e, later=n) for e, n in zip(earlier[1:], now[1:], strict=True)]
        if compare([Record(joined=0, earlier=earlier[0], after=now[0])], records, error=0.05).finding is Finding.BAD:
            return tick
    return None


def test_an_engine_that_is_just_within_the_limit_is_hardly_ever_stopped() -> None:
    """50 courses of 40 looks: more than 7 stops have a chance of 1 % if the error is the 5 % that it may be."""
    assert sum(first_stop(seed, shift=0.1, ticks=40) is not None for seed in range(50)) <= 7


def test_an_engine_that_is_far_beyond_the_limit_is_stopped_soon() -> None:
    stops = [first_stop(seed, shift=0.3, ticks=15) for seed in range(20)]
    assert all(stop is not None for stop in stops)
