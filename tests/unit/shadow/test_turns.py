"""The line and the challenger take turns: no frame computes beside the challenger, unless a line leaves no gap."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.shadow.turns import PATIENCE_SECONDS, Turns


class World:
    """A clock that is set by hand, and what was asked of the challenger's process."""

    def __init__(self) -> None:
        self.now = 100.0
        self.held = False
        # it sleeps for a real moment, so that the thread that moves the clock gets on
        self.turns = Turns(
            hold=self._hold, let_go=self._let_go, clock=lambda: self.now, sleep=lambda _: time.sleep(0.001)
        )

    def _hold(self) -> None:
        self.held = True

    def _let_go(self) -> None:
        self.held = False

    def frame(self, seconds: float = 0.007) -> None:
        with self.turns:
            self.now += seconds


def never() -> bool:
    return False


def test_it_begins_at_once_where_no_line_runs_and_where_a_frame_has_just_ended() -> None:
    world = World()
    assert world.turns.begin(never)
    world.turns.end()
    world.frame()
    assert world.turns.begin(never)


def test_late_in_a_gap_it_waits_for_the_next_one() -> None:
    world = World()
    world.frame()
    world.now += 0.01  # the next frame may be near
    began = threading.Event()

    def wants() -> None:
        if world.turns.begin(never):
            began.set()

    thread = threading.Thread(target=wants)
    thread.start()
    assert not began.wait(0.05)
    world.frame()
    assert began.wait(10)
    thread.join()


def test_late_in_a_gap_it_begins_where_the_shortest_gap_has_room_for_its_longest_turn() -> None:
    world = World()
    for gap, turn in ((0.1, 0.01), (0.2, 0.03), (0.09, 0.02)):
        world.frame()
        assert world.turns.begin(never)
        world.now += turn
        world.turns.end()
        world.now += gap - turn
    world.frame()
    assert world.turns._has_room(0.0)
    assert world.turns._has_room(0.059)
    assert not world.turns._has_room(0.061)
    assert world.turns._has_room(0.5)


def test_what_is_left_over_at_the_end_of_a_gap_is_held_and_goes_on_in_the_next() -> None:
    world = World()
    world.frame()
    assert world.turns.begin(never)
    world.now += 0.013
    with world.turns:
        assert world.held
    assert not world.held


def test_what_rests_is_not_held() -> None:
    world = World()
    assert world.turns.begin(never)
    world.turns.end()
    with world.turns:
        assert not world.held


def test_with_two_threads_it_is_held_until_both_frames_have_ended() -> None:
    world, inside, leave = World(), threading.Event(), threading.Event()
    assert world.turns.begin(never)

    def other() -> None:
        with world.turns:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    world.frame()
    assert world.held
    leave.set()
    thread.join()
    assert not world.held


def test_a_frame_that_fails_ends_as_any_other() -> None:
    world = World()
    assert world.turns.begin(never)
    with pytest.raises(ValueError, match="no picture"), world.turns:
        raise ValueError("no picture")
    assert not world.held
    world.turns.end()
    assert world.turns.begin(never)


def test_a_line_without_gaps_has_a_frame_computed_beside_it_when_patience_ends() -> None:
    world = World()
    with world.turns:
        since, stop = world.now, threading.Event()

        def passes() -> None:
            while not stop.is_set():
                world.now += 0.1
                time.sleep(0.001)  # between two steps of the clock, so that the other thread looks

        thread = threading.Thread(target=passes)
        thread.start()
        assert world.turns.begin(never)
        stop.set()
        thread.join()
        assert PATIENCE_SECONDS <= world.now - since < PATIENCE_SECONDS + 5
    world.frame()
    assert not world.held  # it is let finish


def test_what_was_held_up_for_long_is_let_finish() -> None:
    world = World()
    assert world.turns.begin(never)
    world.now += PATIENCE_SECONDS
    with world.turns:
        assert not world.held


def test_what_waits_ends_with_the_worker() -> None:
    world = World()
    with world.turns:
        assert not world.turns.begin(lambda: True)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["enter 1", "leave 1", "enter 2", "leave 2", "begin", "end", "time"]), max_size=40))
def test_whatever_comes_in_whatever_order_it_is_held_while_a_frame_runs_and_never_left_held(events: list[str]) -> None:
    world, inside, computing = World(), set(), False
    for event in events:
        name, _, which = event.partition(" ")
        thread = int(which or 0)
        if name == "enter" and thread not in inside:
            _as_thread(world, thread, world.turns.__enter__)
            inside.add(thread)
        elif name == "leave" and thread in inside:
            _as_thread(world, thread, lambda: world.turns.__exit__(None, None, None))
            inside.discard(thread)
        elif name == "begin" and not computing and not inside:
            world.now += 1.0
            computing = world.turns.begin(never)
        elif name == "end" and computing:
            world.turns.end()
            computing = False
        elif name == "time":
            world.now += 0.001
        if computing:
            assert world.held == bool(inside)


def _as_thread(world: World, thread: int, does: object) -> None:
    """Do it as one of the line's threads, by its number."""
    original = threading.get_ident
    threading.get_ident = lambda: thread
    try:
        does()  # type: ignore[operator]
    finally:
        threading.get_ident = original
