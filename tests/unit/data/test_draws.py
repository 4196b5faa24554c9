from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.catalog import Catalog
from data.draws import DrawError, budget_left, draw, draw_extra, draw_items
from data.priority_sampling import priority_sample, rethreshold
from tests.unit.data.captured_line import INSPECTION, T0, Line

scores = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30)


@given(scores=scores, n=st.integers(1, 35), seed=st.integers(0, 2**32))
def test_a_draw_takes_n_or_all_and_drawn_is_what_lies_above_the_threshold(
    scores: list[float], n: int, seed: int
) -> None:
    u = 1.0 - np.random.default_rng(seed).random(len(scores))
    sample = priority_sample(scores, u.tolist(), n)
    q = np.asarray(scores) / u
    assert sample.drawn.sum() == min(n, len(scores))
    assert (sample.drawn == (q > sample.threshold)).all()
    assert ((sample.p > 0) & (sample.p <= 1)).all()
    if n >= len(scores):
        assert (sample.threshold, sample.p.min()) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("scores", "u", "n"), [([1.0], [0.5], 0), ([0.0], [0.5], 1), ([float("inf")], [0.5], 1), ([1.0], [0.0], 1)]
)
def test_a_draw_out_of_bounds_is_refused(scores: list[float], u: list[float], n: int) -> None:
    with pytest.raises(ValueError, match=r"draw|score|u must"):
        priority_sample(scores, u, n)


def test_totals_from_a_draw_are_unbiased() -> None:
    rng = np.random.default_rng(11)
    scores = rng.gamma(1.0, size=40) + 0.05
    y = (rng.random(40) < 0.3) * scores  # correlated with the score
    totals = []
    for _ in range(4000):
        sample = priority_sample(scores.tolist(), (1 - rng.random(40)).tolist(), 10)
        totals.append(float(np.sum((y / sample.p)[sample.drawn])))
    standard_error = np.std(totals) / len(totals) ** 0.5
    assert abs(np.mean(totals) - y.sum()) < 4 * standard_error


def test_the_answered_top_of_a_draw_is_a_smaller_draw() -> None:
    rng = np.random.default_rng(12)
    scores, u = rng.gamma(1.0, size=50) + 0.05, 1 - rng.random(50)
    large = priority_sample(scores.tolist(), u.tolist(), 20)
    small = priority_sample(scores.tolist(), u.tolist(), 8)
    items = large.order[:20]
    used, p = rethreshold(scores[items], u[items], large.threshold, np.arange(20) < 8)
    assert set(items[used]) == set(np.flatnonzero(small.drawn))
    assert p[used] == pytest.approx(small.p[items][used])


def test_every_captured_sample_is_offered_once_and_all_offers_are_logged(catalog: Catalog, line: Line) -> None:
    first = line.stream(["ok"] * 40, np.ones(40), keep=12)
    one = draw(catalog, INSPECTION, 5, random=random.Random(1), at=T0)
    assert (one.offered, len(one.items), one.id) == (12, 5, "solder-000001")
    assert {item.sample_id for item in draw_items(catalog, one.id or "")} == set(first)
    second = line.stream(["ok"] * 40, np.ones(40), keep=12)
    two = draw(catalog, INSPECTION, 50, random=random.Random(2), at=T0)
    assert set(two.sample_ids) == set(second)
    assert {item.p2 for item in two.items} == {1.0}
    nothing = draw(catalog, INSPECTION, 5, random=random.Random(3), at=T0)
    assert (nothing.id, nothing.items) == (None, ())


def test_the_logged_p2_is_that_of_the_score_and_threshold(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 60, np.linspace(0.1, 2, 60), keep=30)
    result = draw(catalog, INSPECTION, 10, random=random.Random(1), at=T0)
    for item in draw_items(catalog, result.id or ""):
        assert item.p2 == pytest.approx(min(1.0, item.score / result.threshold))
        assert item.drawn == (item.score / item.u > result.threshold)


def test_both_stages_together_include_in_proportion_to_the_weight(catalog: Catalog, line: Line) -> None:
    weights = np.linspace(0.5, 1.0, 200)
    line.stream(["ok"] * 200, weights, keep=100)
    result = draw(catalog, INSPECTION, 20, random=random.Random(1), at=T0)
    with catalog.reading() as session:
        from data.catalog.models import SampleRow

        for item in result.items:
            row = session.get_one(SampleRow, item.sample_id)
            assert row.p1 is not None
            assert row.weight is not None
            if row.p1 < 1:
                # score = w/p1 = tau1, so p1*p2 = w/tau1 * tau1/tau2 = w/tau2
                assert row.p1 * (item.p2 or 0) == pytest.approx(row.weight / result.threshold)


def test_given_scores_replace_the_default(catalog: Catalog, line: Line) -> None:
    samples = line.stream(["ok"] * 30, np.ones(30), keep=30)
    wanted = dict.fromkeys(samples[:4], 1e9)
    result = draw(catalog, INSPECTION, 4, random=random.Random(1), at=T0, weights=wanted)
    assert set(result.sample_ids) == set(wanted)
    line.stream(["ok"], np.ones(1), keep=1)
    bad = dict.fromkeys(line.truth, float("nan"))
    with pytest.raises(ValueError, match="positive, finite"):
        draw(catalog, INSPECTION, 1, random=random.Random(1), at=T0, weights=bad)


def test_a_refused_draw_offers_nothing(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 4, np.ones(4), keep=4)
    with pytest.raises(ValueError, match="cannot draw 0"):
        draw(catalog, INSPECTION, 0, random=random.Random(1), at=T0)
    assert draw(catalog, INSPECTION, 9, random=random.Random(1), at=T0).offered == 4


def test_leftovers_and_extras_are_drawn_without_a_probability(catalog: Catalog, line: Line) -> None:
    counted = line.stream(["ok"] * 20, np.ones(20), keep=10)
    flagged = line.stream(["crack"] * 2, np.ones(2), keep=2, extra="flag")
    drawn = draw(catalog, INSPECTION, 4, random=random.Random(1), at=T0)
    assert (drawn.offered, set(drawn.sample_ids) <= set(counted)) == (
        10,
        True,
    )  # an extra is never offered with a probability
    extra = draw_extra(catalog, INSPECTION, 100, random=random.Random(2), at=T0)
    assert set(extra.sample_ids) == (set(counted) | set(flagged)) - set(drawn.sample_ids)
    assert {item.p2 for item in extra.items} == {None}
    assert draw_extra(catalog, INSPECTION, 100, random=random.Random(3), at=T0).items == ()


def test_the_budget_is_a_share_of_the_frames_seen(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 100, np.ones(100), keep=30)
    assert budget_left(catalog, INSPECTION, 0.1) == 10
    draw(catalog, INSPECTION, 8, random=random.Random(1), at=T0)
    assert budget_left(catalog, INSPECTION, 0.1) == 2


def test_an_unknown_draw_is_an_error(catalog: Catalog) -> None:
    with pytest.raises(DrawError, match="'x' is unknown"):
        draw_items(catalog, "x")
