import random

from hypothesis import given
from hypothesis import strategies as st

from infra.stack.restart import MOST_SECONDS, SETTLED_SECONDS, deaths_in_a_row, wait_seconds


@given(deaths=st.integers(1, 10_000), seed=st.integers())
def test_a_wait_is_never_nothing_and_never_longer_than_the_bound(deaths, seed):
    assert 0.3 < wait_seconds(deaths, random.Random(seed)) <= MOST_SECONDS


@given(deaths=st.integers(1, 6), seed=st.integers())
def test_each_death_in_a_row_waits_longer(deaths, seed):
    assert wait_seconds(deaths + 1, random.Random(seed)) > wait_seconds(deaths, random.Random(seed))


def test_a_death_after_a_long_healthy_time_is_the_first_again():
    assert deaths_in_a_row(7, SETTLED_SECONDS) == 1
    assert deaths_in_a_row(7, SETTLED_SECONDS - 1) == 8
    assert deaths_in_a_row(7, None) == 8
