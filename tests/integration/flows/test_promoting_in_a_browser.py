"""Promoting and rolling back by clicks in Chromium: a real MLflow moves the alias, real devices follow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from data.decisions import GateDecision, record_decision
from data.ingest import ingest_heartbeats
from data.inspections import create_inspection
from data.users import Role
from data.users.audit_log import list_audit_log
from data.workspace import Workspace
from flows.registry import Registry
from flows.release import release_once
from flows.releases.repository import ReleaseRepository
from flows.stack import registry_of, repository_of
from flows.tags import Tag
from tests.console_person import sign_in_browser
from tests.integration.console.conftest import Console, launched, served
from tests.integration.flows.challengers import register
from tests.integration.flows.stack import Stack
from tests.integration.flows.updating_fleet import Line

NAME = "promoted-here"
PATIENCE = 120_000  # ms, on a busy machine
ANSWERS = ("promote", "promote", "reject")


class Plant:
    """Two lines on version 1; versions 2 and 3 were judged against it."""

    def __init__(self, workspace: Workspace, registry: Registry, repository: ReleaseRepository, at: Path, name: str):
        self.workspace, self.registry, self.name = workspace, registry, name
        bucket = workspace.bucket()
        self.lines = [Line(workspace, bucket, repository, at, f"{name}-{i}", name) for i in range(2)]
        for number, answer in enumerate(ANSWERS, start=1):
            made = register(registry, name, f"{name}-e{number}", decision=answer)
            record_decision(
                workspace.catalog(),
                GateDecision(
                    inspection=name, version=made.number, champion_version=None if number == 1 else "1",
                    run_id=made.run_id, snapshot_id=None, engine_id=f"{name}-e{number}", at=datetime.now(UTC),
                    answer=answer, reasons=[f"reason of version {number}"], label_more={},
                ),
            )  # fmt: skip
        registry.api.set_alias(name, "champion", "1")
        self.follow()

    def follow(self) -> set[str]:
        """What the flows and the devices do of an alias: signed, fetched, served, told. Returns the engines."""
        release_once(self.workspace, self.name)
        engines = {line.turn() for line in self.lines}
        ingest_heartbeats(self.workspace.catalog(), self.workspace.bucket())
        return engines

    def champion(self) -> str | None:
        return self.registry.api.aliases(self.name).get("champion")


@pytest.fixture(scope="module")
def plant(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    workspace = stack.workspace
    create_inspection(workspace.catalog(), NAME, [("ok", "ok"), ("defect", "defect")])
    repository = repository_of(workspace, lambda: datetime.now(UTC))
    return Plant(workspace, registry_of(workspace), repository, tmp_path_factory.mktemp("lines"), NAME)


@pytest.fixture
def console(workspace: Workspace) -> Iterator[Console]:
    with served(workspace) as one:
        yield one


@pytest.fixture
def page(console: Console) -> Iterator[Page]:
    with sync_playwright() as playwright:
        started = launched(playwright)
        context = started.new_context(viewport={"width": 1280, "height": 860})
        sign_in_browser(context, console.url, console.workspace, "dora", Role.APPROVER)
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE)
        problems: list[str] = []
        opened.on("pageerror", lambda error: problems.append(str(error)))
        yield opened
        started.close()
        assert not problems, problems


def test_a_version_is_promoted_and_taken_back_by_clicks(page: Page, console: Console, plant: Plant) -> None:
    expect.set_options(timeout=PATIENCE)
    name, dialog, title = plant.name, page.get_by_role("dialog"), page.locator("#answer-title")
    page.goto(console.url)
    page.get_by_role("link", name=f"Models of {name}").click()
    versions = page.get_by_role("navigation", name="All versions")
    expect(versions.get_by_role("link")).to_have_text(
        ["Version 3: reject", "Version 2: promote", "Version 1: champion"]
    )
    versions.get_by_role("link", name="Version 2").click()
    page.get_by_role("button", name="Promote version 2…").click()
    expect(dialog).to_contain_text("from version 1 to version 2")
    expect(dialog).to_contain_text("stable: 2 devices, all at once")
    dialog.get_by_role("button", name="Promote: 2 devices").click()
    expect(title).to_have_text("Version 2: promote · is the champion")  # the page stays with what was decided
    expect(page.locator("#wanted")).to_contain_text("Version 2 is to go to the devices")
    assert plant.champion() == "2"
    assert plant.registry.api.version(name, "2").tags[Tag.APPROVED_BY] == "dora, on the console"

    assert plant.follow() == {f"{name}-e2"}
    expect(page.locator("#wanted")).to_have_count(0)  # seen by itself
    back = page.get_by_role("button", name="Roll back to version 1…")
    back.click()
    expect(dialog).to_contain_text("from version 2 to version 1")
    dialog.get_by_role("button", name="Cancel").click()
    assert plant.champion() == "2"
    back.click()
    dialog.get_by_role("button", name="Roll back: 2 devices").click()
    expect(title).to_have_text("Version 1: promote · is the champion")
    expect(page.locator("#wanted")).to_contain_text("Version 1 is to go to the devices")
    assert plant.champion() == "1"
    assert plant.follow() == {f"{name}-e1"}
    expect(page.locator("#wanted")).to_have_count(0)
    acts = [(e.what, e.who, e.outcome) for e in list_audit_log(console.workspace.catalog(), what="model.", limit=2)]
    assert acts == [("model.rollback", "dora", "done"), ("model.promote", "dora", "done")]

    versions.get_by_role("link", name="Version 3").click()  # what the gate refused needs a reason
    page.get_by_role("button", name="Promote version 3…").click()
    expect(dialog).to_contain_text("The gate refused this version")
    plant.registry.api.set_alias(name, "champion", "2")  # somebody else decides meanwhile
    dialog.get_by_role("button", name="Promote: 2 devices").click()
    expect(page.locator("#ask-problem")).to_have_text("Say why: the gate refused this version.")
    page.fill("#ask-why", "the line stands still")
    dialog.get_by_role("button", name="Promote: 2 devices").click()
    expect(page.locator("#ask-problem")).to_contain_text("is version 2 by now, not version 1 as on the page")
    assert plant.champion() == "2"


def test_who_may_not_decide_sees_no_button(page: Page, console: Console, plant: Plant) -> None:
    sign_in_browser(page.context, console.url, console.workspace, "lea", Role.LABELLER)
    page.goto(f"{console.url}/models/{plant.name}?version=2")
    expect(page.locator("#answer-title")).to_contain_text("Version 2: promote", timeout=PATIENCE)
    expect(page.get_by_role("link", name="Gate report")).to_be_visible(timeout=PATIENCE)
    assert page.get_by_role("button", name="Promote").count() == 0
    assert page.get_by_role("button", name="Roll back").count() == 0
