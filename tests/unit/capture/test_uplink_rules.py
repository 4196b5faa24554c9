"""When, how fast and in whose turn a device uploads. Numbers in the docstrings are those of the modules' rules."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.contract.errors import ConfigError
from edge_client.contract.pace import Pace, Progress
from edge_client.contract.schedule import Schedule
from edge_client.uplink.backoff import backoff_seconds
from edge_client.uplink.permission import UploadRules, permission
from edge_client.uplink.turns import LONGEST_AHEAD_SECONDS, LinkState, reserve

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
NIGHTS = UploadRules(schedule=Schedule.read(["22:00-05:00"]))
minutes = st.integers(0, 7 * 24 * 60 - 1)


def test_the_pause_is_anything_up_to_a_bound_that_doubles():
    assert [backoff_seconds(n, lambda: 0.5) for n in (1, 2, 3, 4, 9, 10, 1000)] == [0.5, 1, 2, 4, 128, 150, 150]
    assert backoff_seconds(7, lambda: 0.0) > 0


@pytest.mark.parametrize(
    ("texts", "minute_of_week", "is_open"),
    [
        (["22:00-05:00"], 22 * 60, True),
        (["22:00-05:00"], 24 * 60 + 299, True),
        (["22:00-05:00"], 24 * 60 + 300, False),
        (["22:00-05:00"], 299, True),  # Monday before five: the night that began on Sunday
        (["mon-fri 22:00-05:00"], 299, False),  # that night began on Sunday
        (["mon-fri 22:00-05:00"], 5 * 1440 + 299, True),  # Saturday: the night that began on Friday
        (["mon-fri 22:00-05:00"], 5 * 1440 + 1380, False),
        (["sat,sun 00:00-24:00"], 6 * 1440 + 1439, True),
        (["sat,sun 00:00-24:00"], 4 * 1440 + 1439, False),
        (["fri-mon 12:00-13:00"], 6 * 1440 + 750, True),  # over the end of the week
        (["fri-mon 12:00-13:00"], 2 * 1440 + 750, False),
        (["12:00-13:00", "15:00-15:30"], 15 * 60 + 29, True),
        ([], 0, True),
    ],
)
def test_a_schedule_is_open_in_its_hours(texts, minute_of_week, is_open):
    assert Schedule.read(texts).is_open(MONDAY + timedelta(minutes=minute_of_week)) is is_open


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "mon ", "tue-thu ", "sun,wed "]), minutes, minutes), min_size=1, max_size=3
    ),
    minutes,
)
def test_it_is_open_exactly_when_the_told_wait_is_over(ranges, minute):
    texts = [f"{days}{a // 60 % 24:02}:{a % 60:02}-{b // 60 % 24:02}:{b % 60:02}" for days, a, b in ranges]
    schedule, at = Schedule.read(texts), MONDAY + timedelta(minutes=minute)
    wait = schedule.seconds_until_open(at)
    assert schedule.is_open(at + timedelta(seconds=wait))
    assert (wait == 0) == schedule.is_open(at)
    before = [at + timedelta(minutes=m) for m in range(int(wait // 60))]
    assert not any(schedule.is_open(moment) for moment in before)


@pytest.mark.parametrize(
    "text", ["22-05", "25:00-05:00", "22:60-23:00", "24:00-05:00", "mo 22:00-05:00", "", "24:01-01:00"]
)
def test_hours_that_cannot_be_read_are_refused_with_an_example(text):
    with pytest.raises(ConfigError, match="expected"):
        Schedule.read([text])


def test_the_reasons_for_waiting_and_how_long():
    always = UploadRules()

    def ask(rules=always, *, metered=False, hour=12, used=0, size=10):
        return permission(rules, metered=metered, local=MONDAY.replace(hour=hour), used_today=used, size=size)

    assert ask().granted
    held = ask(metered=True)
    assert held.wait_seconds is None
    assert "upload.metered" in held.reason
    held = ask(NIGHTS)
    assert held.wait_seconds == 10 * 3600
    assert "Mon 22:00" in held.reason
    assert ask(NIGHTS, hour=23).granted
    small = UploadRules(bytes_per_day=100)
    assert ask(small, used=90).granted
    held = ask(small, used=91)
    assert held.wait_seconds == 12 * 3600
    assert "91 of 100 bytes" in held.reason
    assert ask(small, size=1000).granted  # the day's first, larger than any day
    assert not ask(small, size=1000, used=1).granted


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 16_384), st.floats(0, 2)), min_size=2, max_size=60))
def test_whoever_asks_the_link_never_carries_more_than_its_rate(asks):
    """Rules 1 and 2: over any stretch of time the bytes are at most the rate's and one burst's."""
    rate, state, at = 10_000.0, LinkState(), 1000.0
    sent: list[tuple[float, int]] = []
    for _, count, later in asks:
        at += later
        state, wait = reserve(state, at=at, day=1, count=count, bytes_per_second=rate)
        sent.append((at + wait, count))
    assert all(a <= b for (a, _), (b, _) in pairwise(sent))  # in the order of asking
    for i, (begin, _) in enumerate(sent):
        total = 0
        for moment, count in sent[i:]:
            assert total <= rate * (moment - begin + 0.5) + 1e-6
            total += count
    assert state.used_on(1) == sum(count for _, count, _ in asks)


def test_those_who_always_have_something_to_send_take_turns():
    """Rule 1: each asks for its next piece when the last one's moment has come."""
    state, counts = LinkState(), [0, 0, 0]
    due = [(0.0, 0), (0.0, 1), (0.0, 2)]
    while (at := min(due)[0]) < 100:
        _, who = due.pop(due.index(min(due)))
        state, wait = reserve(state, at=at, day=1, count=1000, bytes_per_second=5000)
        counts[who] += 1
        due.append((at + wait + 1e-6, who))
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == pytest.approx(500, abs=5)


def test_a_moment_given_out_before_a_restart_is_forgotten():
    """Rule 3: monotonic clocks begin anew."""
    state = LinkState(free_at=1e9, day=1, used_bytes=5)
    state, wait = reserve(state, at=10.0, day=1, count=1000, bytes_per_second=1000)
    assert wait == 0
    assert state.used_on(1) == 1005
    state = LinkState(free_at=10.0 + LONGEST_AHEAD_SECONDS, day=1)
    assert reserve(state, at=10.0, day=1, count=1000, bytes_per_second=1000)[1] == LONGEST_AHEAD_SECONDS


def test_the_pace_judges_each_stretch_and_the_whole():
    pace = Pace(stall_seconds=10, least_bytes_per_second=100, total_seconds=100)
    early = Progress(pace, at=0.0, expected_bytes=1 << 30)
    assert early.judge(10, moved=1_000_000) == ""  # a burst is no credit for later
    assert "0 bytes moved" in early.judge(20, moved=1_000_000)
    steady = Progress(pace, at=0.0, expected_bytes=1 << 30)
    assert all(steady.judge(at, moved=200 * at) == "" for at in range(100))
    assert "not done after 100 s" in steady.judge(100, moved=20_000)


def test_time_rested_on_purpose_does_not_count_against_a_request():
    progress = Progress(Pace(stall_seconds=10, least_bytes_per_second=100, total_seconds=100), at=0.0)
    assert progress.judge(500, moved=0, rested=495) == ""
    assert "0 bytes moved" in progress.judge(505, moved=0, rested=495)
