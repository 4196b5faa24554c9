"""The loop page tells rate, recall and precision once something is labelled."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.integration.console.conftest import Console
from tests.integration.console.pressed_plates import INSPECTION


def test_the_loop_page_tells_the_fields_figures_once_frames_are_labelled(page: Page, console: Console) -> None:
    told: list[str] = []
    page.on("pageerror", lambda error: told.append(str(error)))
    page.goto(f"{console.url}/loop")
    expect(page.locator("#loop")).to_contain_text("nothing is labelled yet", timeout=15_000)
    number = 0
    while items := console.client.get(f"{console.url}/api/{INSPECTION}/next").json()["items"]:
        for item in items:
            number += 1
            body = {
                "sample_id": item["sample_id"], "event_id": f"field-test-{number}",
                "classes": ["crack" if number % 5 == 0 else "ok"],
            }  # fmt: skip
            console.client.post(f"{console.url}/api/labels", json=body).raise_for_status()
        if number >= 40:
            break
    loop = page.locator("#loop")
    # what is computed anew comes to the open page by itself
    expect(loop).to_contain_text("class crack", timeout=60_000)
    expect(loop).to_contain_text("all frames")
    expect(loop).to_contain_text("device line-1")
    expect(loop).to_contain_text("n = ")
    assert told == []
