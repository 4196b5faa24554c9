"""The page of causes in a real Chromium, through the real server."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from data.catalog.models import OutcomeRow, SampleRow, WindowRow
from data.workspace import Workspace
from infra.cli.main import main
from tests.integration.console.conftest import Console
from tests.integration.console.pressed_plates import EVIL, INSPECTION, NOW, sample_id

PARTS = 400


@pytest.fixture
def told(workspace: Workspace) -> Workspace:
    """Parts of line 1 with humidity, and what the end of the line found: humid ones leak. One key is evil."""
    rng = np.random.default_rng(1)
    humidity = rng.normal(size=PARTS)
    leaks = rng.random(PARTS) < 0.12 * np.exp(1.2 * humidity)
    with workspace.catalog().session() as session:
        seen = session.get_one(SampleRow, sample_id(2))
        window = session.get_one(WindowRow, ("line-1", 1, 1))
        columns = {c.key: getattr(window, c.key) for c in WindowRow.__table__.columns}
        session.add(WindowRow(**{**columns, "window": 2, "frames": PARTS, "draw_id": None}))
        session.flush()
        columns = {c.key: getattr(seen, c.key) for c in SampleRow.__table__.columns}
        for i in range(PARTS):
            at = NOW + timedelta(minutes=i / 2)
            own = {"sample_id": f"{i:032x}", "window": 2, "sequence": 50_000 + i, "run": i, "run_length": 1}
            context = {
                "humidity": float(humidity[i]),
                EVIL: EVIL if leaks[i] else "no",
                "lot": "L7",
                "serial": f"S{i}",
            }
            session.add(
                SampleRow(**{**columns, **own, "part_id": f"B-{i}", "captured_at": at, "context": context, "p1": 0.5})
            )
            session.add(
                OutcomeRow(
                    event_id=f"{i}", device="line-1", inspection=INSPECTION, part_id=f"B-{i}", stage="end-of-line",
                    value="leaks" if leaks[i] else "passed", at=at + timedelta(minutes=42), ingested_at=at,
                )
            )  # fmt: skip
    return workspace


def test_what_goes_with_which_defects_is_told_as_sentences_and_a_table(
    page: Page, told: Workspace, console: Console
) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(console.url)
    page.get_by_role("link", name="Causes").click()
    section = page.locator(f"section[aria-label='{INSPECTION}']")
    expect(section.locator(".status")).to_contain_text("found in", timeout=60_000)
    expect(page.locator(".caution")).to_contain_text("These are associations")
    found = section.locator("ul.told li", has_text="goes with high humidity at press-1")
    expect(found).to_contain_text("recorded 42 min before")
    expect(found).to_contain_text("in random order")
    row = section.locator("tr[data-verdict=found]", has_text="humidity").first
    expect(row).to_contain_text("42 min before")
    expect(row).to_contain_text("highest fifth")
    assert row.locator("svg.forest").get_attribute("aria-label", timeout=5_000).startswith("ratio ")  # type: ignore[union-attr]
    section.locator("summary", has_text="Not testable").click()
    expect(section).to_contain_text("an identifier")
    expect(section).to_contain_text("constant")
    expect(section).to_contain_text(EVIL)
    assert page.locator("main img").count() == 0  # what the line sent is text
    assert said == []


def test_findings_are_told_in_the_readers_language(page: Page, told: Workspace, console: Console) -> None:
    page.goto(console.url)
    page.locator("[data-language=de]").click()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.goto(f"{console.url}/causes")
    section = page.locator(f"section[aria-label='{INSPECTION}']")
    found = section.locator("ul.told li", has_text="geht einher mit hohen Werten von humidity an press-1")
    expect(found).to_contain_text("42 min vorher erfasst", timeout=60_000)
    expect(found).to_contain_text("in zufälliger Reihenfolge")
    expect(page.locator(".caution")).to_contain_text("Das sind Zusammenhänge")
    expect(section.locator("tr[data-verdict=found]", has_text="humidity").first).to_contain_text("im höchsten Fünftel")
    expect(section).to_contain_text("Rückmeldungen aus end-of-line")
    section.locator("summary", has_text="Nicht zu testen").click()
    expect(section).to_contain_text("eine Kennung")
    expect(section).to_contain_text("Benjamini-Hochberg über alle")


def test_the_page_says_what_is_missing_and_follows_the_chosen_time(page: Page, console: Console) -> None:
    page.goto(f"{console.url}/causes")
    section = page.locator(f"section[aria-label='{INSPECTION}']")
    expect(section).to_contain_text("No labelled sample and no outcome yet", timeout=60_000)
    with page.expect_response(lambda answer: "days=7" in answer.url) as answered:
        page.select_option("#days", "7")
    assert answered.value.status == 200
    expect(section).to_contain_text("No labelled sample and no outcome yet")


def test_the_api_is_bounded_and_refuses_what_it_does_not_know(told: Workspace, console: Console) -> None:
    answer = console.client.get(f"{console.url}/api/{INSPECTION}/causes", timeout=120)
    assert answer.status_code == 200
    assert "NaN" not in answer.text
    assert "Infinity" not in answer.text
    value = answer.json()
    assert value["found"] >= 1
    assert len(value["associations"]) <= 300
    again = console.client.get(f"{console.url}/api/{INSPECTION}/causes", timeout=5)
    assert again.json() == value
    assert console.client.get(f"{console.url}/api/nothing/causes").status_code == 404
    assert console.client.get(f"{console.url}/api/{INSPECTION}/causes?days=1").status_code == 422


def test_the_command_tells_the_same(told: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["causes", INSPECTION, "--home", str(told.home)]) == 0
    said = capsys.readouterr().out
    assert "leaks goes with high humidity at press-1, recorded 42 min before" in said
    assert "serial at press-1: an identifier" in said
    assert "These are associations" in said
    assert main(["causes", "--home", str(told.home), "--json", "--any-dependence", "--since", "2031-05-06"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["dependence"] == "any"
    assert {"humidity"} <= {a["variable"] for a in value["associations"] if a["verdict"] == "found"}
    with pytest.raises(SystemExit) as end:
        main(["causes", "--fdr", "7"])
    assert end.value.code == 2
    assert "between 0 and 1" in capsys.readouterr().err
