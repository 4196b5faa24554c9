"""The pages of models, field and value in Chromium, on a line with five judged versions; MLflow is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from data.users import Role
from data.users.audit_log import list_audit_log
from data.workspace import Workspace
from edge_client.contract.bucket import S3Settings
from tests.console_person import sign_in_browser
from tests.integration.console import cast_lids, pressed_plates
from tests.integration.console.cast_lids import INSPECTION
from tests.integration.console.conftest import Console

PATIENCE = 180_000  # ms: estimates of a whole line, on a busy machine


@pytest.fixture
def workspace(tmp_path: Path, bucket_server: S3Settings) -> Iterator[Workspace]:
    """A line of its own, in place of the plates of the other tests."""
    opened = pressed_plates.build(tmp_path / "home", bucket_server, plates=2)
    cast_lids.build(opened)
    yield opened
    opened.catalog().close()


def test_a_decider_finds_why_what_flipped_the_worst_station_and_what_it_brought(page: Page, console: Console) -> None:
    sign_in_browser(page.context, console.url, console.workspace, "root", Role.ADMIN)
    page.set_default_timeout(PATIENCE)
    page.goto(f"{console.url}/models/{INSPECTION}?version=4")
    expect(page.locator("#answer-title")).to_contain_text("Version 4: reject", timeout=PATIENCE)
    expect(page.locator("#reasons")).to_contain_text("is worse")
    expect(page.locator("#registry")).to_contain_text("shown is what the catalog knows")
    expect(page.get_by_role("button", name="Promote")).to_have_count(0)  # without MLflow
    expect(page.locator("#flips img").first).to_be_visible()
    shown = page.locator("#flips img").first
    assert shown.evaluate("async (image) => { await image.decode(); return image.naturalWidth }") == 640
    page.get_by_role("navigation", name="All versions").get_by_role("link", name="Version 3: champion").click()
    expect(page.locator("#answer-title")).to_contain_text("is the champion", timeout=PATIENCE)

    page.goto(f"{console.url}/field?inspection={INSPECTION}")
    expect(page.locator("#worst")).to_contain_text("west", timeout=PATIENCE)
    expect(page.locator("#worst")).to_contain_text("It stands out")
    assert page.locator("svg.course .point").count() == 18
    first = page.locator("table[data-by=station] tbody tr").first
    expect(first).to_have_attribute("data-name", "west")
    expect(first).to_contain_text("n = ")

    page.goto(f"{console.url}/value?inspection={INSPECTION}")
    expect(page.locator(".sum")).to_contain_text("No price is stated", timeout=PATIENCE)
    expect(page.locator("#steps tbody tr")).to_have_count(2)
    for name, price in (("escape", "40"), ("false_alarm", "1.5"), ("label", "0.01"), ("gigabyte", "0.5")):
        page.fill(f"#price-{name}", price)
    page.get_by_role("button", name="Save the prices").click()
    expect(page.locator(".sum .total")).to_contain_text("EUR", timeout=PATIENCE)
    expect(page.locator(".sum")).to_contain_text("It brought more than it took")
    pdf = page.pdf(prefer_css_page_size=True)
    assert 1 <= pdf.count(b"/Type /Page\n") <= 2
    (entry,) = [e for e in list_audit_log(console.workspace.catalog()) if e.what == "value.prices"]
    assert entry.who == "root"
