"""The review page in a real browser: cases by keyboard, who labelled what, and taking an interval back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, Route, expect

from data.catalog import Catalog
from data.disagreements import concord
from data.label_flags import open_flags, raise_flag
from data.labels import current_labels, record_label
from data.users import Role
from data.users.audit_log import list_audit_log
from tests.integration.console.conftest import Console
from tests.integration.console.pressed_plates import INSPECTION, sample_id
from tests.integration.console.test_labelling_page import KEY


@pytest.fixture
def catalog(console: Console) -> Catalog:
    """Bob labelled ten plates of late; Cid labelled four of them, and differs on two."""
    catalog, now = console.workspace.catalog(), datetime.now(UTC)
    for n in range(10):
        at = now - timedelta(minutes=30 - n)
        record_label(catalog, sample_id=sample_id(n), classes=["ok"], who="bob", event_id=f"bob-{n:04}", at=at)
    for n in range(4):
        name = "crack" if n < 2 else "ok"
        record_label(catalog, sample_id=sample_id(n), classes=[name], who="cid", event_id=f"cid-{n:04}", at=now)
    raise_flag(catalog, sample_id=sample_id(7), who="bob", event_id="flag-0001", note="<b>too dark?</b>", at=now)
    return catalog


def show(page: Page, console: Console, kind: str) -> None:
    page.goto(f"{console.url}/review?kind={kind}")
    page.wait_for_selector(f"#tab-{kind}[aria-selected=true]", timeout=15_000)


def test_disagreements_are_decided_by_key_and_undo_brings_one_back(
    page: Page, console: Console, catalog: Catalog
) -> None:
    show(page, console, "disagreement")
    expect(page.locator("#agreement")).to_contain_text("n = 4. They agree on 50 %")
    page.wait_for_selector("#review[data-ready=yes]")
    first = page.locator("#review").get_attribute("data-sample") or ""
    assert {"bob", "ok", "cid", "crack"} <= set(page.locator("#said").inner_text().split())
    page.keyboard.press(KEY["crack"])
    page.wait_for_selector("#review[data-unsent='0']")
    expect(page.locator("#tab-disagreement b")).to_have_text("1", timeout=15_000)
    assert current_labels(catalog, [first])[first].by == "ann"
    assert concord(catalog, INSPECTION).agreement.observed.value == 0.5
    page.keyboard.press("u")
    page.wait_for_selector("#review[data-unsent='0']")
    expect(page.locator("#tab-disagreement b")).to_have_text("2", timeout=15_000)
    assert page.locator("#review").get_attribute("data-sample") == first
    page.keyboard.press("ArrowRight")
    expect(page.locator("#place")).to_have_text("2 of 2")
    page.keyboard.press("]")
    expect(page.locator("#tab-suspect")).to_be_focused()


def test_figures_have_the_readers_decimal_point(page: Page, console: Console, catalog: Catalog) -> None:
    page.goto(console.url)
    page.locator("[data-language=de]").click()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    show(page, console, "disagreement")
    expect(page.locator("#agreement")).to_contain_text("0,00")


def test_a_flag_shows_its_note_as_text_and_is_closed(page: Page, console: Console, catalog: Catalog) -> None:
    show(page, console, "flag")
    expect(page.locator("#wrong")).to_contain_text("<b>too dark?</b>", timeout=15_000)
    page.keyboard.press("d")
    expect(page.locator("#nothing")).to_be_visible()
    page.wait_for_selector("#review[data-unsent='0']")
    expect(page.locator("#tab-flag b")).to_have_text("0", timeout=15_000)
    assert open_flags(catalog, INSPECTION) == []
    assert current_labels(catalog, [sample_id(7)])[sample_id(7)].by == "bob"


def test_an_interval_is_taken_back_after_it_was_shown(page: Page, console: Console, catalog: Catalog) -> None:
    show(page, console, "people")
    expect(page.locator("#persons tbody tr")).to_have_count(3, timeout=15_000)  # the archive is one
    page.locator("#persons button", has_text="bob").click()
    expect(page.locator("#record-title")).to_have_text("The record of bob")
    expect(page.locator("#record tbody tr")).to_have_count(10, timeout=15_000)
    page.locator("#interval button").click()
    expect(page.locator("#preview")).to_contain_text("10 answers of bob: 10 ok.")
    expect(page.locator("#preview")).to_contain_text("6 frames then have no label.")
    page.locator("#preview .grave").click()
    expect(page.locator("#told")).to_have_text("10 answers taken back.", timeout=15_000)
    labels = current_labels(catalog, [sample_id(n) for n in range(10)])
    assert {label.by for label in labels.values()} == {"cid"}
    written = [entry for entry in list_audit_log(catalog) if entry.what == "label.undo_interval"]
    assert [(entry.who, entry.facts["of"], entry.facts["answers"]) for entry in written] == [("ann", "bob", 10)]


def test_a_record_that_a_later_choice_overtook_is_not_added_to_it(
    page: Page, console: Console, catalog: Catalog
) -> None:
    late: list[Route] = []

    def keep(route: Route) -> None:
        late.append(route)

    page.route("**/review/record?", keep)
    show(page, console, "people")
    page.locator("#persons button", has_text="bob").click()
    rows = page.locator("#record tbody tr")
    expect(rows).to_have_count(10)
    assert late
    for route in late:
        with page.expect_response("**/review/record?"):
            route.continue_()
    page.wait_for_timeout(200)  # the page has had the time to draw it
    expect(rows).to_have_count(10)


def test_who_labels_sees_their_own_record_and_takes_back_nobody_elses(console: Console, catalog: Catalog) -> None:
    lena = console.client_of("bob", Role.LABELLER)
    people = lena.get(f"/api/{INSPECTION}/review/people").json()
    assert [one["who"] for one in people] == ["bob"]
    record = lena.get(f"/api/{INSPECTION}/review/record", params={"who": "cid"}).json()
    assert {one["who"] for one in record} == {"bob"}
    span = {"since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
    wanted = {"of": "cid", **span}
    assert lena.post(f"/api/{INSPECTION}/review/preview", json=wanted).status_code == 403
    undo = {**wanted, "expected": 4, "event_id": "undo-of-cid"}
    answer = lena.post(f"/api/{INSPECTION}/review/undo", json=undo)
    assert answer.status_code == 403
    assert "approver" in answer.json()["error"]
    one = lena.post("/api/undo", json={"event_id": "undo-one-of-cid", "target": "cid-0001"})
    assert one.status_code == 403
    assert len(current_labels(catalog, [sample_id(n) for n in range(4)])[sample_id(1)].opinions) == 2
    mine = {"of": "bob", **span, "expected": 10, "event_id": "undo-of-bob"}
    assert lena.post(f"/api/{INSPECTION}/review/undo", json=mine).json() == {"undone": 10}
    changed = {**mine, "expected": 3, "event_id": "undo-of-bob-again"}
    assert lena.post(f"/api/{INSPECTION}/review/undo", json=changed).status_code == 422
