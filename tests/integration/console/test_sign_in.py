"""Signing in and out in a real browser and over HTTP, against a real server."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Event

import httpx
from playwright.sync_api import Browser, Page, expect

from data.users import Role
from data.users.accounts import add_user, set_disabled
from data.users.audit_log import list_audit_log
from data.users.links import ensure_first_link
from tests.integration.console.conftest import Console

GOOD = "a sentence will do"


def entry(console: Console) -> httpx.Client:
    """A client that has the sign-in page's token."""
    client = httpx.Client(base_url=console.url, timeout=60)
    client.get("/login").raise_for_status()
    client.headers["X-CSRF-Token"] = client.cookies[f"andon-csrf-{console.port}"]
    return client


def test_the_first_admin_comes_by_the_link_sets_a_password_and_comes_back(browser: Browser, console: Console) -> None:
    catalog, home = console.workspace.catalog(), console.workspace.home
    link = ensure_first_link(catalog, home, at=datetime.now(UTC))
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{console.url}/login#link={link}")
    expect(page.locator("h2")).to_have_text("Set a password", timeout=30_000)
    assert link is not None
    assert link not in page.url
    page.fill("#new", GOOD)
    page.fill("#again", GOOD)
    expect(page.get_by_role("button", name="Save")).to_be_enabled(timeout=30_000)  # its script has come
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Inspections", timeout=30_000)
    page.click("#sign-out")
    expect(page.locator("h1")).to_have_text("Sign in")
    page.goto(f"{console.url}/fleet?site=north")
    page.fill("#name", "admin")
    page.fill("#password", "not this one")
    expect(page.get_by_role("button", name="Sign in")).to_be_enabled(timeout=30_000)
    page.keyboard.press("Enter")
    expect(page.locator("#problem")).to_contain_text("do not belong together", timeout=30_000)
    page.fill("#password", GOOD)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Fleet", timeout=30_000)
    assert page.url.endswith("/fleet?site=north")
    assert page.evaluate("document.cookie").count("andon-session") == 0  # no script can read it
    context.close()
    acts = [(each.what, each.outcome, each.facts.get("how")) for each in reversed(list_audit_log(catalog))]
    assert acts == [
        ("sign-in", "done", "link"), ("user.password", "done", None), ("sign-out", "done", None),
        ("sign-in", "refused", "password"), ("sign-in", "done", "password"),
    ]  # fmt: skip


def test_a_form_is_sent_only_by_its_script(browser: Browser, console: Console) -> None:
    """Enter before the script has come does nothing: a form that the browser sends hangs at the content policy."""
    context, held = browser.new_context(), Event()
    page = context.new_page()
    page.route("**/login.js", lambda route: route.fulfill(body="") if not held.is_set() else route.continue_())
    page.goto(f"{console.url}/login")
    page.fill("#name", "ann")
    page.fill("#password", "not this one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign in")).to_be_disabled()
    assert page.locator("#password").input_value() == "not this one"
    held.set()
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_enabled(timeout=30_000)
    page.fill("#name", "ann")
    page.fill("#password", "not this one")
    page.keyboard.press("Enter")
    expect(page.locator("#problem")).to_contain_text("do not belong together", timeout=30_000)
    context.close()


def test_signing_in_leads_to_no_other_site(page: Page, console: Console) -> None:
    for wanted in ("https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"):
        page.goto(f"{console.url}/login?next={wanted}")  # ann is signed in: she is sent on at once
        page.wait_for_url(f"{console.url}/", timeout=30_000)


def test_a_session_is_new_at_each_sign_in_and_ends_at_once_for_who_is_disabled(console: Console) -> None:
    catalog = console.workspace.catalog()
    add_user(catalog, "cid", Role.VIEWER, at=datetime.now(UTC), password=GOOD)
    client, name = entry(console), f"andon-session-{console.port}"
    tokens = []
    for _ in range(2):
        answer = client.post("/api/sign-in", json={"name": "cid", "password": GOOD})
        assert answer.status_code == 200, answer.text
        given = [text for text in answer.headers.get_list("set-cookie") if text.startswith(name)]
        assert "HttpOnly" in given[0]
        assert "SameSite=strict" in given[0]
        tokens.append(client.cookies[name])
        client.headers["X-CSRF-Token"] = client.cookies[f"andon-csrf-{console.port}"]
    assert tokens[0] != tokens[1]
    assert client.get("/api/me").json()["name"] == "cid"
    old = httpx.get(f"{console.url}/api/me", cookies={name: tokens[0]})
    assert old.status_code == 401
    set_disabled(catalog, "cid", True, at=datetime.now(UTC))
    assert client.get("/api/me").status_code == 401
    assert client.post("/api/sign-in", json={"name": "cid", "password": GOOD}).status_code == 401


def test_guessing_is_slowed_down_and_written_down(console: Console) -> None:
    client = entry(console)
    seen = [client.post("/api/sign-in", json={"name": "ann", "password": f"guess {n}"}) for n in range(7)]
    codes = [answer.status_code for answer in seen]
    assert codes[:5] == [401] * 5
    assert 429 in codes
    assert int(next(answer for answer in seen if answer.status_code == 429).headers["Retry-After"]) >= 1
    written = list_audit_log(console.workspace.catalog(), who="ann")
    assert {(each.outcome, each.address) for each in written} == {("refused", "127.0.0.1")}


def test_without_the_pages_token_nobody_signs_in(console: Console) -> None:
    answer = httpx.post(f"{console.url}/api/sign-in", json={"name": "ann", "password": GOOD})
    assert answer.status_code == 403


def test_an_answer_that_somebody_else_gave_in_this_browser_waits_for_them(console: Console) -> None:
    body = {"sample_id": "x", "event_id": "given-by-bob", "who": "bob", "classes": ["ok"]}
    answer = console.client.post("/api/labels", json=body)
    assert (answer.status_code, "given by bob" in answer.text) == (409, True)


def test_only_an_approver_takes_back_what_another_said_and_it_is_written_down(console: Console) -> None:
    from tests.integration.console.pressed_plates import sample_id

    bob, cid = console.client_of("bob", Role.LABELLER), console.client_of("cid", Role.LABELLER)
    said = {"sample_id": sample_id(4), "event_id": "said-by-bob", "classes": ["ok"]}
    assert bob.post("/api/labels", json=said).status_code == 200
    undo = {"event_id": "taken-back", "target": "said-by-bob"}
    refused = cid.post("/api/undo", json=undo)
    assert (refused.status_code, "approver" in refused.text) == (403, True)
    assert console.client.post("/api/undo", json=undo).json() == {
        "undone": "said-by-bob",
        "sample_id": sample_id(4),
        "samples": [sample_id(4)],
    }
    entry = list_audit_log(console.workspace.catalog(), what="label.undo")[0]
    assert (entry.who, entry.about, entry.facts["of"]) == ("ann", sample_id(4), "bob")
