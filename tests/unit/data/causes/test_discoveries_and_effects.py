from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from data.causes.discoveries import Dependence, q_values
from data.causes.effects import effect_of, groups_of, rate
from data.causes.variables import Variable, variable_of


def variable(values: list[float | str | None], weight: np.ndarray | None = None) -> Variable:
    random = np.random.default_rng(0)
    found = variable_of("x", values, np.ones(len(values)) if weight is None else weight, random.random(len(values)))
    assert isinstance(found, Variable), found
    return found


@pytest.mark.parametrize(("dependence", "method"), [(Dependence.POSITIVE, "bh"), (Dependence.ANY, "by")])
def test_q_values_are_those_of_the_books(dependence: Dependence, method: str) -> None:
    p = np.random.default_rng(1).random(57) ** 3
    assert q_values(p, dependence) == pytest.approx(stats.false_discovery_control(p, method=method))
    assert q_values([], dependence).tolist() == []


def test_false_discoveries_are_bounded_where_tests_hang_together() -> None:
    """200 tests, 10 true, errors correlated 0.5 in blocks of 20: the mean share of false ones over 500 repeats."""
    random = np.random.default_rng(2)
    repeats, level = 500, 0.1
    shares = []
    for _ in range(repeats):
        common = np.repeat(random.normal(size=10), 20)
        z = np.sqrt(0.5) * common + np.sqrt(0.5) * random.normal(size=200)
        z[::20] += 4.5
        q = q_values(2 * stats.norm.sf(np.abs(z)))
        found = q <= level
        false = found.sum() - found[::20].sum()
        shares.append(false / max(1, found.sum()))
    assert np.mean(shares) < level * 190 / 200 + 3 * np.std(shares) / repeats**0.5


def test_groups_are_fifths_of_the_population_not_of_the_sample() -> None:
    numbers = [float(i) for i in range(100)]
    weight = np.where(np.arange(100) < 50, 4.0, 1.0)
    high, low, high_words, low_words = groups_of(variable(numbers, weight), "rank", weight)
    assert weight[high].sum() == pytest.approx(50, abs=2)
    assert weight[low].sum() == pytest.approx(50, abs=4)
    assert str(high_words) == "in the highest fifth (50 and more)"
    assert str(low_words) == "in the lowest fifth (12 and less)"


def test_groups_where_no_fifth_can_be_cut_off() -> None:
    heavy = variable([0.0] * 150 + [1.0] * 50)
    high, low, *words = groups_of(heavy, "rank", np.ones(200))
    assert (high.sum(), low.sum()) == (50, 150)
    assert "1 and more" in str(words[0])
    outer, inner, *_ = groups_of(variable([float(i) for i in range(100)]), "bend", np.ones(100))
    assert (outer.sum(), inner.sum()) == (40, 60)
    with_it, rest, *words = groups_of(variable(["A"] * 30 + ["B"] * 70), "=A", np.ones(100))
    assert (with_it.sum(), rest.sum(), str(words[0])) == (30, 70, "with 'A'")


def test_the_ratio_within_one_stratum_is_the_plain_ratio_with_its_well_known_interval() -> None:
    x = variable(["A"] * 100 + ["B"] * 100)
    y = np.concatenate([np.arange(100) < 30, np.arange(100) < 10]).astype(float)
    ones = np.ones(200)
    effect = effect_of(x, "=A", y, ones, ones, np.zeros(200, dtype=int))
    assert (effect.high.value, effect.low.value) == pytest.approx((0.3, 0.1))
    assert effect.within.value == pytest.approx(3.0)
    spread = (0.7 / 30 + 0.9 / 10) ** 0.5  # of log(ratio), Katz et al. 1978
    assert effect.within.low == pytest.approx(3 * np.exp(-1.959964 * spread), rel=1e-5)
    assert effect.within.high == pytest.approx(3 * np.exp(1.959964 * spread), rel=1e-5)
    assert effect.difference.value == pytest.approx(0.2)
    assert effect.difference.low > 0
    assert 1 < effect.ratio.low < 3 < effect.ratio.high
    weight = np.where(y > 0, 3.0, 1.0)
    weighted = effect_of(x, "=A", y, weight, weight, np.zeros(200, dtype=int))
    assert weighted.within.value == pytest.approx((90 / 160) / (30 / 120))
    assert weighted.ratio.value == pytest.approx(weighted.within.value)


def test_a_ratio_that_is_due_to_places_is_gone_within_them() -> None:
    """Two devices: one has humid parts and many cracks, the other neither; within each there is nothing."""
    device = np.repeat([0, 1], 500)
    humid = np.concatenate([np.arange(500) % 5 > 0, np.arange(500) % 5 == 0])
    y = np.concatenate([np.arange(500) % 7 == 0, np.arange(500) % 49 == 3]).astype(float)
    effect = effect_of(
        variable(["wet" if h else "dry" for h in humid]), "=wet", y, np.ones(1000), np.ones(1000), device
    )
    assert effect.ratio.value > 2
    assert effect.within.low < 1 < effect.within.high
    assert effect.within.value == pytest.approx(1.0, abs=0.25)


def test_no_defect_in_a_group_leaves_the_ratio_open_above() -> None:
    y = np.concatenate([np.arange(50) < 10, np.zeros(150)]).astype(float)
    ones = np.ones(200)
    effect = effect_of(variable(["A"] * 50 + ["B"] * 150), "=A", y, ones, ones, np.zeros(200, dtype=int))
    assert effect.low.value == 0
    assert 0 < effect.low.high < 0.03
    assert np.isnan(effect.ratio.high)
    assert effect.ratio.low > 3
    assert effect.to_dict()["ratio"]["high"] is None


def test_a_ratio_of_almost_nothing_has_no_upper_bound_and_overflows_nothing() -> None:
    """Estimated truth may be below 0, so that a group's defects may come to almost none."""
    y = np.concatenate([[1.0, -0.9999], np.zeros(98), np.arange(100) < 10]).astype(float)
    ones = np.ones(200)
    with np.errstate(over="raise"):
        effect = effect_of(variable(["A"] * 100 + ["B"] * 100), "=A", y, ones, ones, np.zeros(200, dtype=int))
    assert 0 < effect.within.value < 1e-4
    assert np.isnan(effect.within.high)
    assert effect.to_dict()["within"]["high"] is None


def test_intervals_of_rate_and_ratio_cover_under_unequal_probabilities() -> None:
    random = np.random.default_rng(4)
    n, repeats, held, ratio_held = 3_000, 100, 0, 0
    group = np.arange(n) % 2 == 0
    for _ in range(repeats):
        y = random.random(n) < np.where(group, 0.10, 0.04)
        p = np.clip(0.05 + 0.5 * y * random.random(n), 0.02, 1)
        rows = np.flatnonzero(random.random(n) < p)
        w, truth = 1 / p[rows], y[rows].astype(float)
        estimate = rate(truth[group[rows]], w[group[rows]], w[group[rows]])
        held += estimate.low <= 0.10 <= estimate.high
        x = Variable(
            name="x",
            rows=rows,
            scores=group[rows][:, None].astype(float),
            columns=("=A",),
            numbers=None,
            texts=tuple("A" if g else "B" for g in group[rows]),
            missing=0.0,
        )
        ratio = effect_of(x, "=A", truth, w, w, np.zeros(len(rows), dtype=int)).ratio
        ratio_held += ratio.low <= 2.5 and not ratio.high < 2.5
    # At least 95 % is promised; fewer than this has a chance of one in ten thousand.
    assert min(held, ratio_held) >= stats.binom.ppf(1e-4, repeats, 0.95)
