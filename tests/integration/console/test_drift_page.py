"""The page of drift in a real Chromium, through the real server, after real looks at captured days."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from data.catalog.models import DriftAlarmRow
from data.devices import register_device
from data.drift.alarms import list_alarms
from data.drift.look import look
from data.inspections import create_inspection
from data.policy import DriftPolicy, Policy
from data.workspace import Workspace
from flows.drift import answer
from tests.integration.console.conftest import Console
from tests.integration.console.polled import wait_for
from tests.integration.console.pressed_plates import EVIL
from tests.integration.console.pressed_plates import INSPECTION as PLATES
from tests.unit.drift.captured_days import INSPECTION, T0, Days


@pytest.fixture
def darker(workspace: Workspace) -> Workspace:
    """An oven's camera of which the lamp fails on the tenth day; labels were asked for."""
    catalog = workspace.catalog()
    create_inspection(catalog, INSPECTION, [("ok", "ok"), ("crack", "defect")])
    register_device(catalog, "oven-cam", "north", "oven", [INSPECTION], "ab" * 32, at=T0)
    days = Days(catalog, workspace.lake(), device="oven-cam")

    def looked() -> None:
        look(catalog, workspace.lake(), INSPECTION, DriftPolicy(reference_days=5), at=T0 + timedelta(days=days.day))

    days.pass_by(9)
    looked()
    looked()
    days.pass_by(2, gain=0.85)
    looked()
    policy = Policy.from_mapping({"drift": {"on_alarm": "retrain", "labels": 6, "retrain_after": 4}})
    answer(catalog, INSPECTION, policy, uniform=random.Random(1), at=T0 + timedelta(days=days.day))
    (workspace.home / "policy.toml").write_text("[drift]\non_alarm = 'retrain'\nretrain_after = 4\n")
    return workspace


def test_an_alarm_is_seen_understood_and_closed(page: Page, darker: Workspace, console: Console) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"{console.url}/loop")
    tile = page.locator("a.tile", has_text="what changed")
    expect(tile).to_contain_text("open alarm of drift", timeout=15_000)
    tile.click()
    section = page.locator(f"section[aria-label='{INSPECTION}']")
    expect(section.locator(".status")).to_have_text("1 open alarm", timeout=15_000)
    alarm = section.locator("article.alarm.open")
    expect(alarm).to_contain_text("light: images are darker by 1")
    expect(alarm).to_contain_text("oven-cam (oven)")
    expect(alarm).to_contain_text("began about 2030-01-1")
    expect(alarm).to_contain_text("6 labels were asked for. 0 samples were labelled since.")
    expect(alarm).to_contain_text("4 new labels start a retrain")
    pictures = alarm.locator("figure.frames img")
    expect(pictures).to_have_count(8)
    pictures.last.scroll_into_view_if_needed()
    wait_for(page, "[...document.querySelectorAll('figure.frames img')].every((i) => i.naturalWidth > 0)")
    chart = section.locator("article.watch[aria-label='oven-cam pictures'] svg.drift")
    assert "highest" in (chart.get_attribute("aria-label") or "")
    assert chart.locator("circle.raised").count() == 1
    expect(section.locator("article.watch[aria-label='oven-cam rates']")).to_contain_text("as it was")

    alarm.locator("input").fill(EVIL)
    alarm.get_by_role("button", name="The new normal").click()
    expect(section.locator(".status")).to_have_text("no open alarm")
    section.locator("summary", has_text="1 closed alarm").click()
    expect(section.locator("article.alarm.closed")).to_contain_text("Closed by ann")
    expect(section.locator("article.alarm.closed")).to_contain_text(EVIL)
    (closed,) = list_alarms(darker.catalog(), INSPECTION)
    assert (closed.closed_by, closed.note) == ("ann", EVIL)
    assert said == []


def test_an_alarm_and_what_followed_are_told_in_the_readers_language(
    page: Page, darker: Workspace, console: Console
) -> None:
    page.goto(f"{console.url}/drift")
    page.locator("[data-language=de]").click()
    alarm = page.locator("article.alarm.open")
    expect(alarm).to_contain_text("Um 6 Labels wurde gebeten. Seither wurden 0 Bilder gelabelt.", timeout=15_000)
    expect(alarm).to_contain_text("lösen 4 neue Labels ein Training aus")
    expect(alarm.locator("h4")).to_contain_text("Licht: Die Bilder sind um 15 % dunkler")


def test_words_that_an_earlier_version_kept_without_figures_say_their_language(
    page: Page, darker: Workspace, console: Console
) -> None:
    with darker.catalog().session() as session:
        row = session.scalars(select(DriftAlarmRow)).one()
        row.cause, row.words, row.figures = "dirt", "dirt: a dark spot stays at the top of the image", {"frames": 24}
    page.goto(f"{console.url}/drift")
    page.locator("[data-language=de]").click()
    expect(page.locator("article.alarm.open h4 [lang=en]")).to_contain_text("a dark spot stays", timeout=15_000)


def test_an_inspection_that_was_never_looked_at_says_so(page: Page, console: Console) -> None:
    page.goto(console.url)
    page.get_by_role("link", name="Drift").click()
    section = page.locator(f"section[aria-label='{PLATES}']")
    expect(section).to_contain_text("Nothing was looked at yet", timeout=15_000)
    expect(section.locator(".status")).to_have_text("no open alarm")


def test_the_api_refuses_what_it_does_not_know(darker: Workspace, console: Console) -> None:
    url = f"{console.url}/api/{INSPECTION}/drift"
    told = console.client.get(url, timeout=30)
    assert told.status_code == 200
    assert "NaN" not in told.text
    assert told.json()["open"] == 1
    assert console.client.get(f"{console.url}/api/nothing/drift").status_code == 404
    body = {"new_normal": False}
    assert console.client.post(f"{url}/99/close", json=body).status_code == 422
    other = console.client.post(f"{console.url}/api/{PLATES}/drift/1/close", json=body)
    assert other.status_code == 422  # not that one's
    assert console.client.post(f"{url}/1/close", json={"note": "no word of which"}).status_code == 422
    evil = {"Origin": "http://evil.example"}
    assert console.client.post(f"{url}/1/close", json=body, headers=evil).status_code == 403
    assert console.client.post(f"{url}/1/close", json=body).json()["note"] == "mended"
    again = console.client.post(f"{url}/1/close", json=body)
    assert (again.status_code, "closed already, by ann" in again.json()["error"]) == (422, True)
