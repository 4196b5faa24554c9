"""The page of rollouts in a real Chromium, through the real server, on real folds of heartbeats."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from data.workspace import Workspace
from tests.integration.console.conftest import Console
from tests.integration.console.pressed_plates import INSPECTION as PLATES
from tests.integration.console.staged_fleet import EVIL, INSPECTION, Fleet


@pytest.fixture
def fleet(workspace: Workspace) -> Fleet:
    made = Fleet(workspace.catalog())
    made.pass_by(20)
    made.begin()
    return made


def test_a_rollout_is_seen_held_resumed_and_taken_back(page: Page, fleet: Fleet, console: Console) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    fleet.pass_by(36)
    page.goto(console.url)
    page.get_by_role("link", name="Rollouts").click()
    rollout = page.locator(f"section[aria-label='{INSPECTION}'] article")
    expect(rollout.locator("h3")).to_contain_text("version 8 to stable over version 7: rolling out", timeout=15_000)
    expect(rollout.locator("li[aria-current=step]")).to_contain_text("4 devices")
    expect(rollout).to_contain_text("4 of 4 devices confirmed; soaks until")
    rows = rollout.locator("table").first.locator("tbody tr")
    expect(rows).to_have_count(6)  # defects, two classes, anomaly, lost, latency
    expect(rows.first).to_contain_text("against 8 controls")
    assert rollout.locator("svg.span").count() == 6
    rollout.locator("summary", has_text="4 devices reached, 8 controls").click()
    expect(rollout.locator("details").first).to_contain_text("press-")
    expect(rollout).to_contain_text("files in order of preference: int8, fp32")

    rollout.locator("input").fill(EVIL)
    rollout.get_by_role("button", name="Hold").click()
    expect(rollout.locator("h3")).to_contain_text("held · being signed")
    expect(rollout).to_contain_text(EVIL)
    rollout.get_by_role("button", name="Resume").click()
    expect(rollout.locator("h3")).to_contain_text("rolling out")
    rollout.get_by_role("button", name="Take back").click()
    expect(rollout.locator("h3")).to_contain_text("taken back")
    assert [event.what for event in fleet.newest.events][-3:] == ["hold", "resume", "revert"]
    assert said == []


def test_a_version_that_was_taken_back_by_itself_says_why(page: Page, fleet: Fleet, console: Console) -> None:
    fleet.pass_by(4, refusing=tuple(fleet.names))
    page.goto(f"{console.url}/rollouts")
    rollout = page.locator(f"section[aria-label='{INSPECTION}'] article")
    expect(rollout).to_contain_text("1 of 1 devices that tried it quarantined it, 0 may", timeout=15_000)
    expect(rollout).to_contain_text(EVIL)
    assert page.locator("#rollouts img").count() == 0
    expect(page.locator(f"section[aria-label='{PLATES}']")).to_contain_text("No version was rolled out yet")


def test_the_api_refuses_what_it_does_not_know(fleet: Fleet, console: Console) -> None:
    url = f"{console.url}/api/{INSPECTION}/rollouts"
    told = console.client.get(url, timeout=30)
    assert told.status_code == 200
    assert "NaN" not in told.text
    assert "Infinity" not in told.text
    body = {"rollout": fleet.newest.id}
    assert console.client.get(f"{console.url}/api/nothing/rollouts").status_code == 404
    assert console.client.post(f"{url}/stable/explode", json=body).status_code == 422
    assert console.client.post(f"{url}/stable/hold", json={**body, "rollout": 99}).status_code == 422
    assert console.client.post(f"{url}/canary/hold", json=body).status_code == 422
    evil = {"Origin": "http://evil.example"}
    assert console.client.post(f"{url}/stable/hold", json=body, headers=evil).status_code == 403
    assert console.client.post(f"{url}/stable/hold", data=body).status_code == 415
    assert console.client.post(f"{url}/stable/hold", json=body).json()["state"] == "held"
    again = console.client.post(f"{url}/stable/hold", json=body)
    assert (again.status_code, "so it cannot hold" in again.json()["error"]) == (422, True)
