"""Waiting for what a page's own policy lets nobody evaluate inside it: asked from outside, again and again."""

from __future__ import annotations

import time

from playwright.sync_api import Page


def wait_for(page: Page, expression: str, *, seconds: float = 30.0) -> None:
    """Wait until a JavaScript expression is true.

    Raises:
        TimeoutError: It is not in time.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {expression}")
        page.wait_for_timeout(50)
