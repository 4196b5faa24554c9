"""A value that takes long to make (the rules of `console.kept`)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from console.kept import Kept


class Made:
    """Makes 1, 2, 3, …; waits for `go`, tells `made`."""

    def __init__(self) -> None:
        self.count = 0
        self.go, self.made = threading.Event(), threading.Semaphore(0)
        self.go.set()
        self.error: Exception | None = None

    def __call__(self) -> int:
        assert self.go.wait(60)
        self.count += 1
        self.made.release()
        if self.error is not None:
            raise self.error
        return self.count


def test_the_first_wait_for_one_that_is_made_once() -> None:
    make, now = Made(), [0.0]
    make.go.clear()
    kept = Kept(make, fresh=10, monotonic=lambda: now[0])
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(kept.get) for _ in range(4)]
        make.go.set()
        assert [each.result(60) for each in found] == [1, 1, 1, 1]
    assert make.count == 1


def test_a_fresh_one_is_kept_and_an_old_one_is_made_anew() -> None:
    make, now = Made(), [0.0]
    kept = Kept(make, fresh=10, patience=60, monotonic=lambda: now[0])
    assert kept.get() == 1
    now[0] = 9.0
    assert kept.get() == 1
    now[0] = 1e6
    assert kept.get() == 2


def test_who_asks_while_it_is_made_anew_gets_the_old_one() -> None:
    make, now = Made(), [0.0]
    kept = Kept(make, fresh=10, patience=0.0, monotonic=lambda: now[0])
    assert kept.get() == 1
    assert make.made.acquire(timeout=60)
    make.go.clear()
    now[0] = 1e6
    assert kept.get() == 1  # nobody let it be made yet
    running, _ = kept.begin()
    assert running is not None
    make.go.set()
    assert running.result(60) == 2
    assert kept.get() == 2


def test_an_error_is_told_and_the_next_who_asks_tries_again() -> None:
    make, now = Made(), [0.0]
    make.error = ValueError("the catalog is away")
    kept = Kept(make, fresh=10, patience=60, monotonic=lambda: now[0])
    with pytest.raises(ValueError, match="away"):
        kept.get()
    make.error = None
    assert kept.get() == 2


def test_what_takes_long_is_made_at_most_a_tenth_of_the_time() -> None:
    make, now = Made(), [0.0]
    make.go.clear()
    kept = Kept(make, fresh=0.0, patience=60, monotonic=lambda: now[0])
    kept.begin()
    threading.Timer(0.3, make.go.set).start()
    assert kept.get() == 1
    now[0] = 2.9
    assert kept.get() == 1


def test_who_cannot_wait_gets_nothing_while_the_first_is_made_and_then_what_there_is() -> None:
    make = Made()
    make.go.clear()
    kept = Kept(make, fresh=10, monotonic=lambda: 0.0)
    assert kept.soon(0.0) is None
    make.go.set()
    assert kept.get() == 1
    assert kept.soon(0.0) == 1


def test_who_cannot_wait_is_told_if_the_first_fails() -> None:
    make = Made()
    make.error = ValueError("no catalog")
    with pytest.raises(ValueError, match="no catalog"):
        Kept(make, fresh=10).soon(60)
