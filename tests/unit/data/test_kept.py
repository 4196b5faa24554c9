"""What is kept while what it rests on is the same."""

import threading
from collections.abc import Callable

import pytest

from data.kept import KeptWhileSame


def _answers() -> tuple[list[int], Callable[[], int]]:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    return made, make


def test_an_answer_is_made_anew_when_what_it_rests_on_changed_and_only_its_own() -> None:
    kept: KeptWhileSame[int] = KeptWhileSame()
    _, make = _answers()
    given = [kept.get(key, rests_on, make) for key, rests_on in (("a", 1), ("b", 1), ("a", 1), ("a", 2), ("b", 1))]
    assert given == [0, 1, 0, 2, 1]


def test_however_many_ask_it_is_made_once() -> None:
    kept: KeptWhileSame[int] = KeptWhileSame()
    made, make = _answers()
    together = threading.Barrier(4)

    def slowly() -> int:
        threading.Event().wait(0.05)  # the others ask meanwhile
        return make()

    def ask() -> None:
        together.wait(10)
        kept.get("a", 1, slowly)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert made == [0]


def test_who_asks_in_vain_is_told_and_what_was_there_stays() -> None:
    kept: KeptWhileSame[int] = KeptWhileSame()
    made, make = _answers()

    def fail() -> int:
        raise OSError("gone")

    kept.get("a", 1, make)
    with pytest.raises(OSError, match="gone"):
        kept.get("a", 2, fail)
    assert kept.get("a", 1, make) == 0
    assert made == [0]
