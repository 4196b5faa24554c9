"""A part that came back although its frame was labelled ok: seen on the loop page, offered on the labelling page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Page, expect

from data.labels import record_label
from infra.cli.main import main
from tests.integration.console.conftest import Console
from tests.integration.console.polled import wait_for
from tests.integration.console.pressed_plates import EVIL, INSPECTION, NOW, sample_id


def test_a_returned_part_is_shown_with_its_frame_and_offered_for_a_second_look(
    page: Page, console: Console, tmp_path: Path
) -> None:
    catalog = console.workspace.catalog()
    labelled = datetime.now(UTC) - timedelta(hours=1)
    for number in (1, 2):
        record_label(
            catalog, sample_id=sample_id(number), classes=["ok"], who="ann", event_id=f"label-{number}", at=labelled
        )
    file = tmp_path / "returns.csv"
    at = (NOW + timedelta(days=1)).isoformat()
    file.write_text(f"part_id,outcome,at\n{EVIL},failed,{at}\nA-1002,passed,{at}\n")
    assert main(["outcomes", str(file), "--stage", "returns", "--home", str(console.workspace.home)]) == 0

    page.goto(f"{console.url}/loop")
    summary = page.locator("summary", has_text="1 frame of which an outcome says the opposite")
    summary.click(timeout=15_000)
    row = page.locator("details.contradictions tbody tr")
    expect(row).to_contain_text(EVIL)
    expect(row).to_contain_text("ann: ok")
    expect(row).to_contain_text("returns: failed")
    wait_for(page, "document.querySelector('details.contradictions img').naturalWidth > 0")

    page.goto(f"{console.url}/label/{INSPECTION}")
    for _ in range(40):
        if page.locator("#opinion", has_text="of the part returns says failed").count():
            break
        page.wait_for_selector("#picture img.shown")
        page.keyboard.press("s")
        page.wait_for_timeout(120)
    expect(page.locator("#opinion")).to_contain_text("it is labelled ok; of the part returns says failed")
