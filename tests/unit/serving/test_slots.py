"""How many run, how many wait, who is next."""

import threading
import time

import pytest

from edge_client.serving.problems import Kind, Refusal
from edge_client.serving.slots import Slots


def until(true) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def waiting(slots: Slots, told: list, name: object) -> threading.Thread:
    """Start a thread that takes a slot and says so."""

    def take() -> None:
        try:
            slots.take()
            told.append(name)
        except Refusal as refusal:
            told.append(refusal.reason)

    before = slots.waiting
    thread = threading.Thread(target=take)
    thread.start()
    until(lambda: slots.waiting == before + 1)
    return thread


def test_a_free_slot_goes_to_the_longest_waiting():
    slots, told = Slots(1, queue=5, deadline_seconds=30), []
    slots.take()
    threads = [waiting(slots, told, name) for name in "abc"]
    for n in range(1, 4):
        slots.give()
        until(lambda n=n: len(told) == n)
    slots.give()
    for thread in threads:
        thread.join(10)
    assert told == ["a", "b", "c"]
    assert (slots.running, slots.waiting) == (0, 0)


def test_one_too_many_is_refused_at_once_and_one_that_waits_too_long_then():
    slots, told = Slots(1, queue=1, deadline_seconds=0.3), []
    slots.take()
    thread = waiting(slots, told, "never")
    with pytest.raises(Refusal, match="1 requests run and 1 wait") as refused:
        slots.take()
    assert (refused.value.kind, refused.value.reason) == (Kind.OVERLOADED, "queue_full")
    thread.join(20)
    assert told == ["deadline"]
    slots.give()
    slots.take()  # the one that gave up has left no trace
    assert (slots.running, slots.waiting) == (1, 0)


def test_a_slot_is_given_back_when_its_request_fails():
    slots = Slots(1, queue=0, deadline_seconds=1)
    with pytest.raises(ZeroDivisionError), slots.slot():
        _ = 1 / 0
    assert slots.running == 0
    assert slots.longest() == 0.0


def test_who_waits_is_refused_when_the_server_ends_and_who_runs_is_not():
    slots, told = Slots(1, queue=5, deadline_seconds=30), []
    with slots.slot():
        threads = [waiting(slots, told, name) for name in "ab"]
        slots.close()
        for thread in threads:
            thread.join(10)
        assert told == ["ending", "ending"]
        assert slots.longest() > 0.0
    with pytest.raises(Refusal, match="ending"):
        slots.take()
    assert slots.running == 0


def test_never_more_run_than_there_are_slots_and_nobody_is_forgotten():
    slots = Slots(3, queue=100, deadline_seconds=30)
    running, most, done, lock = [0], [0], [0], threading.Lock()

    def work() -> None:
        for _ in range(50):
            with slots.slot():
                with lock:
                    running[0] += 1
                    most[0] = max(most[0], running[0])
                time.sleep(0)
                with lock:
                    running[0] -= 1
                    done[0] += 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most[0] <= 3
    assert done[0] == 400
    assert (slots.running, slots.waiting) == (0, 0)
