"""Signing in through a real OpenID Connect provider: a process on another site, honest at first, then not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from data.users import AuditEntry, Role
from data.users.accounts import add_user, get_user, set_disabled
from data.users.audit_log import list_audit_log
from data.users.identities import join
from data.users.links import new_link
from data.workspace import Workspace
from tests.integration.console.conftest import Console, served
from tests.integration.console.identity_provider import SECRET
from tests.integration.console.test_accessibility import violations
from tests.integration.flows.stack import free_port, wait_until
from tests.unit.console.installation import make_workspace

STATED = """
[oidc]
issuer = "http://localhost:{port}"
client_id = "andon"
client_secret_file = "client-secret"
name = "Plant SSO"
scopes = "openid profile groups"
admin = ["heads"]
approver = ["quality"]
labeller = ["line"]
"""
ANN = {"sub": "1001", "preferred_username": "ann", "groups": ["golf", "quality"]}
BOB = {"sub": "1002", "preferred_username": "bob", "groups": ["line"], "only_when_asked": ["groups"]}
NOBODY = {"sub": "1003", "preferred_username": "nob", "groups": ["golf"]}


@dataclass
class Plant:
    """The console and the provider."""

    console: Console
    issuer: str
    people: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, *people: dict[str, Any]) -> None:
        httpx.post(f"{self.issuer}/people", json=people, trust_env=False).raise_for_status()

    def lie(self, **lies: Any) -> int:
        """How the next answers differ from what they should be. Returns how often keys were asked for until now."""
        answer = httpx.post(f"{self.issuer}/lies", json=lies, trust_env=False).raise_for_status()
        return int(answer.json()["keys_asked"])

    def last(self, what: str = "sign-in") -> AuditEntry:
        return list_audit_log(self.console.workspace.catalog(), what=what, limit=1)[0]


class Visit:
    """A browser that follows no redirect by itself."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.client = httpx.Client(base_url=plant.console.url, timeout=60, trust_env=False)

    def begin(self, onward: str = "/fleet") -> str:
        """The address at the provider to which the browser is sent."""
        answer = self.client.get("/login/provider", params={"next": onward})
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def choose(self, address: str, sub: str) -> str:
        """The address by which the provider sends the browser back."""
        answer = httpx.post(address, data={"who": sub} if sub else {"no": "1"}, trust_env=False)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])

    def come_back(self, address: str) -> str:
        """Where the console sends the browser then."""
        answer = self.client.get(address)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def sign_in(self, sub: str, onward: str = "/fleet") -> str:
        return self.come_back(self.choose(self.begin(onward), sub))

    def me(self) -> tuple[str, str] | None:
        answer = self.client.get("/api/me")
        return (answer.json()["name"], answer.json()["role"]) if answer.status_code == 200 else None


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    port = free_port()
    home = tmp_path_factory.mktemp("provider") / "home"
    make_workspace(home)
    (home / "services.toml").write_text(STATED.format(port=port))
    (home / "client-secret").write_text(SECRET + "\n")
    workspace = Workspace.open(home, environ={})
    with served(workspace) as console:
        module = "tests.integration.console.identity_provider"
        command = [sys.executable, "-m", module, str(port), f"{console.url}/login/provider/answer"]
        with (home / "provider.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[3])
        try:
            # the port was free a moment ago: nothing answers there before it is the provider
            wait_until(lambda: process.poll() is not None or _answers(port), "the provider")
            assert process.poll() is None, (home / "provider.log").read_text()
            yield Plant(console, f"http://localhost:{port}")
        finally:
            process.kill()
            process.wait(30)
    workspace.catalog().close()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://localhost:{port}/keys", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(autouse=True)
def _honest(plant: Plant) -> None:
    plant.lie()
    plant.tell(ANN, BOB, NOBODY)


def test_somebody_signs_in_and_out_in_a_browser(browser: Browser, plant: Plant) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{plant.console.url}/fleet?site=north")
    assert violations(page) == []
    page.get_by_role("link", name="Sign in with Plant SSO").click()
    page.get_by_role("button", name="1001").click()
    expect(page.locator("h1")).to_have_text("Fleet", timeout=60_000)
    assert page.url == f"{plant.console.url}/fleet?site=north"
    assert page.locator("body").get_attribute("data-role") == "approver"
    page.goto(f"{plant.console.url}/account")
    expect(page.locator("main")).to_contain_text("You sign in through http://localhost", timeout=60_000)
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("h1")).to_have_text("Sign in", timeout=60_000)
    assert page.url == f"{plant.console.url}/login"
    page.get_by_role("link", name="Sign in with Plant SSO").click()
    expect(page.get_by_role("heading", name="Plant SSO")).to_be_visible(
        timeout=60_000
    )  # it asks again: signed out there
    page.get_by_role("button", name="no").click()
    expect(page.locator("#problem")).to_contain_text("did not let you in", timeout=60_000)
    context.close()
    told = list_audit_log(plant.console.workspace.catalog(), who="ann")
    assert [(e.what, e.outcome) for e in reversed(told)] == [
        ("user.add", "done"), ("sign-in", "done"), ("sign-out", "done"),
    ]  # fmt: skip
    assert told[1].facts["how"] == "provider"
    assert (plant.last().outcome, "access_denied" in plant.last().detail) == ("refused", True)


def test_the_role_is_the_providers_word_at_each_sign_in(plant: Plant) -> None:
    visit = Visit(plant)
    assert visit.sign_in("1002") == "/login?next=%2Ffleet"
    assert visit.me() == ("bob", "labeller")  # by userinfo: the token does not say the groups
    other = Visit(plant)
    plant.tell({**BOB, "preferred_username": "robert", "groups": ["line", "heads"]})
    other.sign_in("1002")
    assert other.me() == ("bob", "admin")  # the subject counts, not what somebody is called
    assert visit.me() is None  # a change of role signs out
    entry = plant.last("user.role")
    assert (entry.who, entry.facts["before"], entry.facts["role"]) == ("bob", "labeller", "admin")
    plant.tell({**BOB, "groups": ["golf"]})
    assert Visit(plant).sign_in("1002") == "/login?problem=nobody&next=%2Ffleet"
    assert "none of the values of 'groups'" in plant.last().detail


def test_who_has_no_role_is_disabled_or_is_called_like_somebody_else_stays_outside(plant: Plant) -> None:
    catalog, at = plant.console.workspace.catalog(), get_user_time()
    assert Visit(plant).sign_in("1003", "/") == "/login?problem=nobody"
    add_user(catalog, "Cid", Role.LABELLER, at=at, password="a sentence will do")
    plant.tell({"sub": "7", "preferred_username": "cid", "groups": ["heads"]})
    visit = Visit(plant)
    assert visit.sign_in("7", "/") == "/login?problem=taken"
    assert visit.me() is None
    assert "andon user join cid '7'" in plant.last().detail
    join(catalog, "Cid", issuer=plant.issuer, subject="7")
    visit.sign_in("7")
    assert visit.me() == ("Cid", "admin")
    assert get_user(catalog, "Cid").has_password is False
    set_disabled(catalog, "Cid", True, at=at)  # bob may be an admin or not: cid is not the last one
    assert visit.me() is None
    assert visit.sign_in("7", "/") == "/login?problem=disabled"


def get_user_time() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


OTHER_KEY = {"new_keys": ["evil"], "hidden": ["evil"], "signed_by": "evil"}
#: What an evil or broken provider, or somebody between, may answer, and what the audit log says of it.
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another's nonce": ({"claims": {"nonce": "x" * 43}}, "nonce"),
    "no nonce": ({"without": ["nonce"]}, "nonce"),
    "for another client": ({"claims": {"aud": "other"}}, "aud"),
    "for others, too": ({"claims": {"aud": ["andon", "other"], "azp": "andon"}}, "alone"),
    "authorised for another": ({"claims": {"azp": "other"}}, "azp"),
    "of another issuer": ({"claims": {"iss": "https://evil.example"}}, "iss"),
    "expired": ({"shift": {"exp": -3600 - 61}}, "expired"),
    "not yet valid": ({"shift": {"nbf": 90}}, "not yet valid"),
    "issued in the future": ({"shift": {"iat": 90}}, "issued in the future"),
    "without an end": ({"without": ["exp"]}, "exp"),
    "without a subject": ({"without": ["sub"]}, "sub"),
    "of an unknown key": ({**OTHER_KEY, "kid": "evil"}, "not believed"),
    "signed by another key of that name": (OTHER_KEY, "signature"),
    "not signed": ({"alg": "none"}, "not believed"),
    "signed with the public key": ({"alg": "HS256"}, "not believed"),
    "with another access token": ({"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}}, "at_hash"),
    "userinfo of somebody else": ({"without": ["groups"], "userinfo": {"sub": "1001"}}, "userinfo is of '1001'"),
    "sent by another provider": ({"named": "https://evil.example"}, "https://evil.example"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_token_that_lies_lets_nobody_in(plant: Plant, name: str) -> None:
    lies, why = LIES[name]
    plant.lie(**lies)
    visit = Visit(plant)
    assert visit.sign_in("1002", "/") == "/login?problem=wrong"
    assert visit.me() is None
    entry = plant.last()
    assert (entry.outcome, entry.facts["how"]) == ("refused", "provider")
    assert why in entry.detail.lower() or why in entry.detail, entry.detail


def test_clocks_may_differ_by_a_minute(plant: Plant) -> None:
    plant.lie(shift={"iat": 40, "nbf": 40, "exp": -3600 - 20})
    visit = Visit(plant)
    visit.sign_in("1002")
    assert visit.me() is not None


def test_a_key_that_the_provider_changed_is_fetched_and_a_made_up_one_does_not_make_it_be_asked_for_ever(
    plant: Plant,
) -> None:
    from console.provider import KEYS_AGAIN_SECONDS

    plant.lie(new_keys=["evil"], hidden=["evil"], signed_by="evil", kid="evil")
    before = plant.lie(hidden=["evil"], signed_by="evil", kid="evil")
    began = time.monotonic()
    for _ in range(5):
        assert Visit(plant).sign_in("1002", "/") == "/login?problem=wrong"
    spent = time.monotonic() - began
    assert plant.lie() - before <= 1 + spent // KEYS_AGAIN_SECONDS


def test_an_answer_serves_the_browser_that_began_and_once(plant: Plant) -> None:
    visit, thief = Visit(plant), Visit(plant)
    address = visit.choose(visit.begin(), "1001")
    assert thief.come_back(address) == "/login?problem=over"  # without the cookie of who began
    thief.begin()
    assert thief.come_back(address) == "/login?problem=over"  # with a cookie of its own
    assert visit.come_back(address) == "/login?next=%2Ffleet"  # the thief ended nothing
    assert thief.me() is None
    assert visit.come_back(address) == "/login?problem=over"
    assert "fits the answer's state" in plant.last().detail


def test_an_answer_with_another_state_or_a_code_that_was_used_lets_nobody_in(plant: Plant) -> None:
    visit = Visit(plant)
    address = visit.choose(visit.begin(), "1001")
    code, iss = (parse_qs(urlsplit(address).query)[key][0] for key in ("code", "iss"))
    for state in ("", "x" * 43):
        answer = visit.client.get("/login/provider/answer", params={"code": code, "iss": iss, "state": state})
        assert answer.headers["location"] == "/login?problem=over"
    visit.come_back(address)
    assert visit.me() is not None
    again = Visit(plant)  # the used code in a sign-in of its own: the provider refuses it, and PKCE would
    state = parse_qs(urlsplit(again.begin("/")).query)["state"][0]
    answer = again.client.get("/login/provider/answer", params={"code": code, "iss": iss, "state": state})
    assert answer.headers["location"] == "/login?problem=wrong"
    assert "gave no token" in plant.last().detail
    stolen, thief = Visit(plant), Visit(plant)  # a code that was not used, put into another's sign-in
    code = parse_qs(urlsplit(stolen.choose(stolen.begin(), "1001")).query)["code"][0]
    state = parse_qs(urlsplit(thief.begin("/")).query)["state"][0]
    answer = thief.client.get("/login/provider/answer", params={"code": code, "iss": iss, "state": state})
    assert answer.headers["location"] == "/login?problem=wrong"
    assert (thief.me(), "Code challenge failed" in plant.last().detail) == (None, True)


@pytest.mark.parametrize(
    "evil", ["https://evil.example/", "//evil.example", "/\\evil.example", "/login?next=//e.x", "\t//e"]
)
def test_nobody_is_led_to_another_site(plant: Plant, evil: str) -> None:
    visit = Visit(plant)
    assert visit.sign_in("1001", evil) == "/login?next=%2F"
    page = visit.client.get("/login", params={"next": evil, "problem": "<script>"}).text
    assert "evil" not in page
    assert "<script>" not in page.replace('<script type="module"', "")


def test_the_provider_is_asked_with_pkce_nonce_and_state_and_its_cookie_is_lax(plant: Plant) -> None:
    visit = Visit(plant)
    answer = visit.client.get("/login/provider")
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert {"state", "nonce", "code_challenge"} <= set(asked)
    assert min(len(asked[key][0]) for key in ("state", "nonce", "code_challenge")) >= 43
    assert SECRET not in answer.headers["location"]
    (cookie,) = [text for text in answer.headers.get_list("set-cookie") if "andon-begun" in text]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Max-Age=600"))


def test_a_provider_that_is_away_or_is_another_is_told(plant: Plant) -> None:
    plant.lie(token="away")
    assert Visit(plant).sign_in("1001", "/") == "/login?problem=away"
    plant.lie(issuer="https://evil.example")
    with served(plant.console.workspace) as fresh:  # nothing is known of the provider yet
        answer = httpx.get(f"{fresh.url}/login/provider", trust_env=False)
        assert answer.headers["location"] == "/login?problem=wrong"
        assert "calls itself 'https://evil.example'" in plant.last().detail
        page = httpx.get(f"{fresh.url}/login?problem=wrong", trust_env=False).text
        assert "cannot be believed" in page


def test_somebody_of_the_provider_sets_no_password_here(plant: Plant) -> None:
    visit = Visit(plant)
    visit.sign_in("1001")
    visit.client.get("/account")
    token = visit.client.cookies[f"andon-csrf-{plant.console.port}"]
    body = {"new": "a sentence will do"}
    answer = visit.client.post("/api/me/password", json=body, headers={"X-CSRF-Token": token})
    assert (answer.status_code, "password is changed there" in answer.text) == (422, True)
    assert get_user(plant.console.workspace.catalog(), "ann").has_password is False


def test_passwords_can_be_switched_off_and_links_still_work(plant: Plant) -> None:
    home, catalog = plant.console.workspace.home, plant.console.workspace.catalog()
    add_user(catalog, "dan", Role.ADMIN, at=get_user_time(), password="a sentence will do")
    stated = home / "services.toml"
    stated.write_text(stated.read_text() + 'local_login = "off"\n')
    with served(Workspace.open(home, environ={})) as strict:
        client = httpx.Client(base_url=strict.url, trust_env=False)
        page = client.get("/login").text
        assert 'id="password"' not in page
        assert "Passwords are switched off" in page
        client.headers["X-CSRF-Token"] = client.cookies[f"andon-csrf-{strict.port}"]
        refused = client.post("/api/sign-in", json={"name": "dan", "password": "a sentence will do"})
        assert (refused.status_code, "switched off" in refused.text) == (403, True)
        link = new_link(catalog, "dan", at=get_user_time())
        assert client.post("/api/sign-in", json={"link": link}).json() == {"name": "dan", "set_password": False}
