"""What a task took, from what was pressed and read."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.task_hand import Hand


class Quiet:
    """A page on which nothing is loaded."""

    def remove_listener(self, event: str, does: Any) -> None:
        """Nothing listens."""


def test_a_persons_seconds_are_the_published_times_of_what_was_pressed_and_read() -> None:
    hand = Hand(Quiet(), "http://127.0.0.1:1", "label 20")  # type: ignore[arg-type]
    hand.clicks, hand.keys, hand.words, hand.decisions, hand.switches = 2, 20, 238, 22, 1
    hand.machine, hand.plant = 3.0, 50.0
    done = hand.end()
    assert done.person_seconds == pytest.approx(2 * 1.3 + 20 * 0.28 + 60.0 + 22 * 1.35 + 0.4)
    assert done.seconds == pytest.approx(done.person_seconds + 3.0)  # what the plant takes is not the page's


def test_what_the_page_tells_otherwise_than_what_is_true_is_kept() -> None:
    hand = Hand(Quiet(), "http://127.0.0.1:1", "worst station")  # type: ignore[arg-type]
    hand.check("worst station", "west", "west")
    assert hand.end().wrong == ()
    hand.check("worst station", "north", "west")
    assert hand.end().wrong == ("worst station: the page says 'north', true is 'west'",)
