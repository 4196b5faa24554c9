"""Answers that are kept while what they rest on is the same: seen by something that costs far less than making them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class KeptWhileSame(Generic[T]):
    """One answer for each key. Safe to share between threads: an answer is made once, however many ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Hashable, tuple[object, T]] = {}

    def get(self, key: Hashable, rests_on: object, make: Callable[[], T]) -> T:
        """Return the answer of a key, made anew if `rests_on` is not equal to what it was when it was made.

        Raises:
            Exception: What making it raised; the answer before is then kept with what that rested on.
        """
        with self._lock:
            if key not in self._kept or self._kept[key][0] != rests_on:
                self._kept[key] = rests_on, make()
            return self._kept[key][1]
