"""Frames that arrive together run together; none pays for another."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from edge_client.contract.errors import BadEngine
from edge_client.serving.batching import Batching

SMALL, LARGE = np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)


class Recorder:
    """Stands at the seam of `Client.predict`: answers with the part's name, and notes each run."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, Any]] = []
        self.running = self.most = 0
        self.lock = threading.Lock()

    def predict(self, frame: Any, *, part_id: Any, context: Any, capture: bool) -> Any:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.runs.append((len(frame) if getattr(frame, "ndim", 0) == 4 else 1, context))
        time.sleep(0.01)
        with self.lock:
            self.running -= 1
        parts = part_id if isinstance(part_id, list) else [part_id]
        if "bad" in parts:
            raise BadEngine("not a number")
        return parts if isinstance(part_id, list) else part_id


def together(batching: Batching, calls: list[tuple[Any, dict[str, Any]]]) -> list[Any]:
    """Make calls at the same time and return their answers, or their errors."""
    answers: list[Any] = [None] * len(calls)
    gate = threading.Barrier(len(calls))

    def one(i: int) -> None:
        frame, given = calls[i]
        gate.wait(10)
        try:
            answers[i] = batching.predict(frame, **given)
        except BadEngine as error:
            answers[i] = error

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


def test_a_full_group_runs_at_once_and_each_gets_its_own_answer():
    seen = Recorder()
    batching = Batching(seen.predict, max_batch=4, max_wait_seconds=30, runners=1)
    assert together(batching, [(SMALL, {"part_id": n}) for n in "abcd"]) == list("abcd")
    assert seen.runs == [(4, None)]


def test_a_lonely_frame_waits_no_longer_than_it_must():
    seen = Recorder()
    batching = Batching(seen.predict, max_batch=8, max_wait_seconds=0.01, runners=1)
    assert batching.predict(SMALL, part_id="a") == "a"
    assert seen.runs == [(1, None)]


def test_only_what_fits_together_is_gathered():
    seen = Recorder()
    batching = Batching(seen.predict, max_batch=2, max_wait_seconds=0.05, runners=4)
    calls = [
        (SMALL, {"part_id": "a"}),
        (LARGE, {"part_id": "b"}),
        (SMALL, {"part_id": "c", "context": {"humidity": 1}}),
        (SMALL, {"part_id": "d", "capture": False}),
        (b"encoded", {"part_id": "e"}),
    ]
    assert together(batching, calls) == list("abcde")
    assert [size for size, _ in seen.runs] == [1] * 5


def test_one_bad_frame_costs_only_itself():
    seen = Recorder()
    batching = Batching(seen.predict, max_batch=3, max_wait_seconds=30, runners=2)
    a, bad, c = together(batching, [(SMALL, {"part_id": n}) for n in ("a", "bad", "c")])
    assert (a, c) == ("a", "c")
    assert isinstance(bad, BadEngine)


def test_at_most_so_many_groups_run_at_once():
    seen = Recorder()
    batching = Batching(seen.predict, max_batch=2, max_wait_seconds=0.001, runners=2)
    answers = together(batching, [(SMALL, {"part_id": str(i)}) for i in range(12)])
    assert answers == [str(i) for i in range(12)]
    assert seen.most <= 2


def test_an_error_of_another_kind_reaches_each_of_a_group():
    def broken(*_: Any, **__: Any) -> Any:
        raise MemoryError("no room")

    with pytest.raises(MemoryError):
        Batching(broken, max_batch=2, max_wait_seconds=0.001, runners=1).predict(SMALL)
