"""The other pages, and what the server refuses."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from data.catalog import Catalog
from data.inspections import create_inspection
from data.labels import current_label, label_history
from data.loop_status import loop_statuses
from data.users import Role
from data.workspace import Workspace
from tests.console_person import sign_in_browser
from tests.integration.console.conftest import Console, ConsoleProcess, served
from tests.integration.console.pressed_plates import EVIL, INSPECTION, sample_id


def event() -> str:
    return str(uuid.uuid4())


def said(number: int, label: str = "ok", **changes: Any) -> dict[str, Any]:
    return {"sample_id": sample_id(number), "event_id": event(), "classes": [label], **changes}


def test_the_inspections_page_leads_to_labelling(page: Page, console: Console) -> None:
    page.goto(console.url)
    expect(page.locator(".card h2")).to_have_text(INSPECTION)
    expect(page.locator(".card")).to_contain_text("60 captured, 4,000 frames seen")
    page.get_by_role("link", name="Label", exact=True).click()
    page.wait_for_selector("#labelling[data-ready=yes]", timeout=15_000)


def test_pages_begin_with_the_inspection_that_was_looked_at_last(
    page: Page, console: Console, workspace: Workspace
) -> None:
    for name in ("anvils", "bolts"):  # before the one with samples, by name
        create_inspection(workspace.catalog(), name, [("ok", "ok"), ("crack", "defect")])
    chosen = page.locator("#inspection")
    page.goto(f"{console.url}/field")
    expect(chosen).to_have_value("anvils")
    page.goto(f"{console.url}/label/{INSPECTION}")
    for path in ("field", "value", "review"):
        page.goto(f"{console.url}/{path}")
        expect(chosen).to_have_value(INSPECTION)
    chosen.select_option("bolts")
    page.goto(f"{console.url}/value")
    expect(chosen).to_have_value("bolts")
    page.goto(console.url)
    page.get_by_role("link", name="Models", exact=True).first.click()
    expect(page).to_have_url(f"{console.url}/models/bolts")
    page.goto(f"{console.url}/field?inspection={INSPECTION}")
    page.goto(f"{console.url}/review")
    expect(chosen).to_have_value(INSPECTION)
    page.context.add_cookies([{"name": "andon.inspection", "value": "gone", "url": console.url}])
    page.goto(f"{console.url}/field")
    expect(chosen).to_have_value("anvils")


@pytest.mark.parametrize(("path", "then"), [("/", ".card .facts"), ("/loop", "#loop .tile")])
def test_a_page_does_not_wait_for_the_first_figures(
    page: Page, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, path: str, then: str
) -> None:
    go = threading.Event()

    def slow(catalog: Catalog) -> Sequence[Any]:
        assert go.wait(120)
        return loop_statuses(catalog)

    monkeypatch.setattr("console.live.loop_statuses", slow)
    monkeypatch.setattr("console.live.SOON_SECONDS", 0.1)
    with served(workspace) as console:
        sign_in_browser(page.context, console.url, workspace, "eva", Role.APPROVER)
        page.goto(console.url + path)
        expect(page.locator("main")).to_contain_text("being computed")
        if path == "/":
            expect(page.get_by_role("link", name=f"Label {INSPECTION}")).to_be_visible()
        go.set()
        expect(page.locator(then).first).to_be_visible(timeout=60_000)
        expect(page.locator("main")).not_to_contain_text("being computed")


def test_the_loop_page_shows_devices_versions_quarantine_and_follows_what_happens(page: Page, console: Console) -> None:
    page.goto(f"{console.url}/loop")
    expect(page.locator("#live")).to_contain_text("live", timeout=15_000)
    loop = page.locator("#loop")
    for text in (
        "line-1",
        "line-2",
        "degraded",
        "quarantined",
        "not a signed",
        "label 12 more of crack",
        "60",
        "4,000",
    ):
        expect(loop).to_contain_text(text)
    expect(loop).to_contain_text(EVIL)
    assert loop.locator("img").count() == 0
    link = page.get_by_role("link", name="version 7").first
    assert link.get_attribute("href") == f"http://127.0.0.1:5999/#/models/{INSPECTION}/versions/7"
    tile = page.locator(".tile", has_text="field labels")
    expect(tile).to_contain_text("none yet")
    console.client.post(f"{console.url}/api/labels", json=said(3)).raise_for_status()
    expect(tile).to_contain_text("1 ok", timeout=15_000)


def test_the_loop_page_reconnects_after_the_server_was_away(page: Page, process: ConsoleProcess) -> None:
    page.goto(f"{process.url}/loop")
    expect(page.locator("#live")).to_contain_text("live ·", timeout=15_000)
    process.kill()
    expect(page.locator("#live")).to_contain_text("connection lost", timeout=15_000)
    process.start()
    expect(page.locator("#live")).to_contain_text("live ·", timeout=20_000)


def test_pages_work_under_a_strict_content_policy(page: Page, console: Console) -> None:
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    for path in ("/", "/loop", f"/label/{INSPECTION}"):
        answer = page.goto(console.url + path)
        assert answer is not None
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
    page.wait_for_selector("#labelling[data-ready=yes]", timeout=15_000)
    assert not [text for text in told if "Content Security Policy" in text]


def test_an_answer_sent_twice_is_recorded_once(console: Console) -> None:
    body = said(2, "crack")
    for _ in range(2):
        assert console.client.post(f"{console.url}/api/labels", json=body).status_code == 200
    assert len(label_history(console.workspace.catalog(), sample_id(2))) == 1
    other = console.client.post(f"{console.url}/api/labels", json={**body, "classes": ["ok"]})
    assert other.status_code == 422
    assert "use a new event id" in other.json()["error"]


def test_two_people_are_not_shown_the_same_sample(console: Console) -> None:
    ids = [
        {item["sample_id"] for item in console.client_of(who).get(f"/api/{INSPECTION}/next").json()["items"]}
        for who in ("ann", "bob")
    ]
    assert ids[0]
    assert ids[1]
    assert not ids[0] & ids[1]


def test_undo_over_the_api_takes_back_the_named_answer(console: Console) -> None:
    first, second = said(4), said(5)
    for body in (first, second):
        console.client.post(f"{console.url}/api/labels", json=body)
    undo = {"event_id": event(), "target": first["event_id"]}
    assert console.client.post(f"{console.url}/api/undo", json=undo).json()["sample_id"] == sample_id(4)
    catalog = console.workspace.catalog()
    assert current_label(catalog, sample_id(4)) is None
    assert current_label(catalog, sample_id(5)) is not None


def test_pictures_and_overlays_are_what_the_device_sent(console: Console) -> None:
    image = console.client.get(f"{console.url}/api/image/{sample_id(2)}")
    assert image.headers["content-type"] == "image/jpeg"
    assert image.content[:3] == b"\xff\xd8\xff"
    overlay = console.client.get(f"{console.url}/api/overlay/{sample_id(2)}.png")
    assert overlay.headers["content-type"] == "image/png"
    assert overlay.content[:4] == b"\x89PNG"


Call = Callable[[httpx.Client], httpx.Response]
REFUSED: dict[str, tuple[Call, int, str]] = {
    "unknown class": (
        lambda client: client.post("/api/labels", json=said(1, "banana")), 422, "['ok', 'crack', 'hole']",
    ),
    "unknown sample": (lambda client: client.post("/api/labels", json=said(999)), 422, "andon ingest"),
    "no class": (lambda client: client.post("/api/labels", json=said(1, classes=[])), 422, "['ok', 'crack', 'hole']"),
    "unknown kind": (lambda client: client.post("/api/labels", json=said(1, kind="maybe")), 422, "body.kind"),
    "event id with a path": (
        lambda client: client.post("/api/labels", json=said(1, event_id="../../etc/x")), 422, "body.event_id",
    ),
    "unknown target of an undo": (
        lambda client: client.post("/api/undo", json={"event_id": event(), "target": "not-known-1"}),
        422,
        "nothing was undone",
    ),
    "unknown inspection": (lambda client: client.get("/api/nothing/next"), 404, INSPECTION),
    "page of an unknown inspection": (lambda client: client.get("/label/nothing"), 404, "andon init"),
    "unknown picture": (lambda client: client.get("/api/image/nothing"), 404, "no sample"),
    "unknown address": (lambda client: client.get("/wrong"), 404, "begin at /"),
    "another site's name": (lambda client: client.get("/", headers={"Host": "evil.example"}), 421, "127.0.0.1"),
    "a broken name": (lambda client: client.get("/", headers={"Host": "[::1"}), 421, "127.0.0.1"),
    "another site's page": (
        lambda client: client.post("/api/labels", json=said(1), headers={"Origin": "http://evil.example"}),
        403,
        "own pages",
    ),
    "a page without an origin": (
        lambda client: client.post("/api/labels", json=said(1), headers={"Origin": "null"}), 403, "own pages",
    ),
    "a form": (lambda client: client.post("/api/labels", data={"a": "b"}), 415, "application/json"),
    "not JSON": (
        lambda client: client.post("/api/labels", content=b"{", headers={"Content-Type": "application/json"}),
        422,
        "not as expected",
    ),
    "a huge request": (lambda client: client.post("/api/labels", json=said(1, more="a" * 100_000)), 413, "at most"),
    "no length": (
        lambda client: client.post(
            "/api/labels",
            content=iter([json.dumps(said(1)).encode()]),
            headers={"Content-Type": "application/json"},
        ),
        411,
        "Content-Length",
    ),
}  # fmt: skip


def test_what_is_refused_says_why_and_what_to_do(console: Console) -> None:
    for name, (call, status, words) in REFUSED.items():
        answer = call(console.client)
        assert answer.status_code == status, (name, answer.text)
        assert words in answer.json()["error"], (name, answer.text)
        assert "default-src 'none'" in answer.headers["content-security-policy"], name
    assert all(not label_history(console.workspace.catalog(), sample_id(n)) for n in (0, 1))


def test_without_a_stack_the_process_says_what_to_do(tmp_path: Any) -> None:
    from console.__main__ import main

    assert main(["--home", str(tmp_path), "--port", "1"]) == 1


@pytest.mark.parametrize("host", ["localhost", "[::1]", "127.0.0.1"])
def test_loopback_names_are_accepted(console: Console, host: str) -> None:
    assert console.client.get(f"{console.url}/healthz", headers={"Host": f"{host}:{console.port}"}).status_code == 200
