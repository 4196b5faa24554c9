"""Which server next: the rules of `failover`, by number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.failover import Failover, share_of_time


def test_the_lists_order_is_the_order_of_preference():
    assert Failover(3).order(0.0) == [0, 1, 2]


def test_a_server_that_failed_is_last_until_its_pause_is_over_and_pauses_double():
    rules = Failover(2, first_pause=1.0, longest_pause=4.0)
    now = 0.0
    for pause in (1.0, 2.0, 4.0, 4.0):
        rules.failed(0, now)
        assert rules.order(now) == [1, 0]
        assert rules.order(now + pause - 0.001) == [1, 0]
        now += pause
        assert rules.order(now) == [0, 1]


def test_when_all_are_paused_the_first_to_return_is_tried_first():
    rules = Failover(3, first_pause=1.0)
    for server, at in ((1, 0.0), (0, 0.3), (2, 0.6)):
        rules.failed(server, at)
    assert rules.order(0.7) == [1, 0, 2]
    assert rules.next_return(0.7) == pytest.approx(0.3)


def test_one_good_answer_forgets_failures():
    rules = Failover(2, first_pause=1.0)
    for _ in range(5):
        rules.failed(0, 0.0)
    rules.good(0)
    assert rules.order(0.0) == [0, 1]
    rules.failed(0, 0.0)
    assert rules.order(1.0) == [0, 1]


def test_one_that_is_overloaded_is_left_alone_for_as_long_as_it_asks():
    rules = Failover(2)
    rules.overloaded(0, 10.0, 3.0)
    assert rules.order(12.9) == [1, 0]
    assert rules.order(13.0) == [0, 1]
    assert rules.next_return(11.0) == 0.0
    rules.overloaded(1, 10.0, 5.0)
    assert rules.next_return(11.0) == 2.0


EVENTS = st.lists(
    st.tuples(st.sampled_from(["good", "failed", "overloaded"]), st.integers(0, 3), st.floats(0, 100)), max_size=30
)


@given(EVENTS, st.floats(0, 4000))
def test_each_server_is_always_tried_and_those_that_are_not_paused_first(events, later):
    rules = Failover(4)
    now = 0.0
    for kind, server, seconds in events:
        now += seconds
        if kind == "good":
            rules.good(server)
        elif kind == "failed":
            rules.failed(server, now)
        else:
            rules.overloaded(server, now, seconds)
    order = rules.order(now + later)
    assert sorted(order) == [0, 1, 2, 3]
    if events and events[-1][0] == "good":
        assert order.index(events[-1][1]) <= events[-1][1]
    if later > 31:
        assert order == [0, 1, 2, 3]


@pytest.mark.parametrize(("left", "untried", "expected"), [(9, 3, 3), (9, 1, 5), (0, 2, 0.01), (-1, 1, 0.01)])
def test_a_server_may_take_its_share_of_the_time_that_is_left(left, untried, expected):
    assert share_of_time(left, untried, most=5.0) == expected
