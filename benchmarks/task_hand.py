"""Somebody who does a task on a page: what they press and read is counted, and what they wait for is timed.

Seconds are told apart:

- of the machine: from a press until what it was for is on the screen, measured;
- of the plant: until devices have done what was asked for, measured;
- of the person: modelled, since nobody sits here. The keystroke-level model (Card, Moran & Newell 1983) with its
  published times for pointing, pressing and making up one's mind, and silent reading at 238 words a minute (Brysbaert
  2019) of everything that somebody who is new here reads before they know what to press.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Locator, Page, expect

POINT_SECONDS, PRESS_SECONDS, KEY_SECONDS, HOME_SECONDS, MIND_SECONDS = 1.1, 0.2, 0.28, 0.4, 1.35
WORDS_A_SECOND = 238 / 60
PATIENCE_MS = 180_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What one task took.

    Attributes:
        pages: Documents that were loaded, with the start page.
        wrong: What the page said otherwise than what is true; empty: all of it was right.
    """

    task: str
    clicks: int
    keys: int
    pages: int
    words: int
    machine_seconds: float
    plant_seconds: float
    person_seconds: float
    wrong: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Of machine and person; what the plant takes is not the page's."""
        return self.machine_seconds + self.person_seconds


@dataclass
class Hand:
    """Does one task, beginning at the start page."""

    page: Page
    url: str
    task: str
    clicks: int = 0
    keys: int = 0
    pages: int = 0
    words: int = 0
    decisions: int = 0
    switches: int = 0
    machine: float = 0.0
    plant: float = 0.0
    wrong: list[str] = field(default_factory=list)
    on_keys: bool = False

    def begin(self) -> None:
        """Open the start page, from which each task begins."""
        self.page.on("domcontentloaded", self._loaded)
        self.page.goto(self.url)
        expect(self.page.locator("h1")).to_be_visible(timeout=PATIENCE_MS)
        self.read(self.page.locator("header nav.pages-of"))
        self.read(self.page.locator("main"))

    def end(self) -> Done:
        """Tell what it took."""
        self.page.remove_listener("domcontentloaded", self._loaded)
        person = (
            self.clicks * (POINT_SECONDS + PRESS_SECONDS)
            + self.keys * KEY_SECONDS
            + self.switches * HOME_SECONDS
            + self.decisions * MIND_SECONDS
            + self.words / WORDS_A_SECOND
        )
        return Done(
            task=self.task, clicks=self.clicks, keys=self.keys, pages=self.pages, words=self.words,
            machine_seconds=self.machine, plant_seconds=self.plant, person_seconds=person, wrong=tuple(self.wrong),
        )  # fmt: skip

    def read(self, where: Locator) -> str:
        """Read what stands there."""
        text = where.inner_text(timeout=PATIENCE_MS)
        self.words += len(text.split())
        return text

    def click(self, what: Locator, then: Callable[[], Any]) -> None:
        """Decide, point, press, and wait until what it is for is there."""
        self._turn_to(keys=False)
        self.decisions += 1
        self.clicks += 1
        expect(what).to_be_visible(timeout=PATIENCE_MS)
        with self._machine():
            what.click(timeout=PATIENCE_MS)
            then()

    def key(self, key: str, then: Callable[[], Any]) -> None:
        """Decide, press a key, and wait until what it is for is there."""
        self._turn_to(keys=True)
        self.decisions += 1
        self.keys += 1
        with self._machine():
            self.page.keyboard.press(key)
            then()

    def wait_for_the_plant(self, then: Callable[[], Any]) -> None:
        """Look on, without a press, until devices have done it and the page says so."""
        began = time.monotonic()
        then()
        self.plant += time.monotonic() - began

    def check(self, what: str, shown: object, true: object) -> None:
        """Note what the page tells otherwise than what is true."""
        if shown != true:
            self.wrong.append(f"{what}: the page says {shown!r}, true is {true!r}")

    def _turn_to(self, *, keys: bool) -> None:
        self.switches += keys is not self.on_keys
        self.on_keys = keys

    @contextmanager
    def _machine(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.machine += time.monotonic() - began

    def _loaded(self, page: Page) -> None:
        self.pages += 1


def seen(what: Locator, words: str | None = None) -> Callable[[], None]:
    """Wait until something is on the screen, and says so."""

    def there() -> None:
        expect(what).to_be_visible(timeout=PATIENCE_MS)
        if words is not None:
            expect(what).to_contain_text(words, timeout=PATIENCE_MS)

    return there
