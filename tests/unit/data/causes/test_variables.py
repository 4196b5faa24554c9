"""Rules 1 to 4 of data/causes/variables.py."""

from __future__ import annotations

import numpy as np
import pytest

from data.causes.phrases import Phrase
from data.causes.variables import LONGEST_TEXT, MOST_LEVELS, Variable, variable_of

N = 200
ONES, TIMES = np.ones(N), np.arange(N, dtype=float)
RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.standard_cauchy(N)


def coded(values: list[float | str | None] | np.ndarray) -> Variable:
    found = variable_of("x", values, ONES, TIMES)
    assert isinstance(found, Variable), found
    return found


def test_a_number_has_its_rank_and_its_distance_from_the_middle_however_heavy_its_tails() -> None:
    variable = coded(NUMBERS.tolist())
    assert variable.columns == ("rank", "bend")
    assert sorted(variable.scores[:, 0].tolist()) == pytest.approx([(i + 0.5) / N for i in range(N)])
    assert np.argsort(variable.scores[:, 0]).tolist() == np.argsort(NUMBERS).tolist()
    assert coded(NUMBERS).scores.tolist() == variable.scores.tolist()  # an array is the same


def test_a_text_has_a_column_for_each_value_that_ten_parts_share() -> None:
    variable = coded(["A"] * 100 + ["B"] * 85 + ["C"] * 15)
    assert variable.columns == ("=A", "=B", "=C")
    assert variable.scores.sum(axis=0).tolist() == [100, 85, 15]
    assert coded(["A"] * 100 + ["B"] * 91 + ["C"] * 9).columns == ("=A", "=B")


def test_numbers_of_few_values_may_be_codes() -> None:
    assert coded([1.0] * 60 + [2.0] * 80 + [7.0] * 60).columns == ("rank", "bend", "=1", "=2", "=7")
    assert coded([1.0] * 60 + [2.0] * 140).columns == ("rank", "bend")


def test_a_number_among_texts_is_a_text() -> None:
    assert coded([1.0] * 100 + ["off"] * 100).columns == ("=1", "=off")


def test_missing_values_are_left_out_and_told() -> None:
    variable = coded([None] * 50 + [float("nan")] * 10 + NUMBERS[60:].tolist())
    assert variable.rows.tolist() == list(range(60, N))
    assert variable.missing == pytest.approx(60 / N)


def test_long_texts_and_many_values_are_bounded() -> None:
    assert coded(["x" * 1_000 + str(i % 5) for i in range(100)] + ["y"] * 100).columns == (
        "=" + "x" * LONGEST_TEXT,
        "=y",
    )
    many = [f"v{i % 16:02d}" for i in range(N)]
    assert len(coded(many).columns) == MOST_LEVELS


REFUSED = {
    "constant": ([5.0] * N, "constant"),
    "nearly constant": (["A"] * (N - 9) + ["B"] * 9, "all but 9 of 200"),
    "a serial number in words": ([f"SN-{i}" for i in range(N)], "an identifier"),
    "many rare values": ([f"v{i % 50}" for i in range(N)], "no value is shared by 10"),
    "a counter": ((1_000.0 + 3 * TIMES).tolist(), "a counter"),
    "too rare": ([None] * (N - 29) + [float(i) for i in RANDOM.random(29)], "only 29 parts"),
    "never a number": ([float("inf")] * N, "only 0 parts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_tested_is_told_with_the_reason(case: str) -> None:
    values, reason = REFUSED[case]
    found = variable_of("x", values, ONES, TIMES)
    assert isinstance(found, Phrase)
    assert reason in str(found)
